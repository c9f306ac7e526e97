package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestChart(t *testing.T) {
	c := chart{
		Title: "Waits <of writers>", XLabel: "seconds", Step: 0.25, Reference: 10, ReferenceName: "typical",
		Lines: []line{{"one", []float64{1, 10, 100, 1000}}, {"two & three", []float64{0.2, 5}}},
	}
	var picture bytes.Buffer
	if err := c.render(&picture); err != nil {
		t.Fatal(err)
	}
	paths, texts := elementsOf(t, picture.Bytes())
	// One key and one line each; a level below one millisecond stays at the edge.
	for class, want := range map[string][]string{
		"line line-1": {"M70 52h22", "M167.5 380L362.5 280L557.5 180L752.5 80"},
		"line line-2": {"M280 52h22", "M167.5 380L362.5 310.1"},
		"reference":   {"M490 52h22M70 280H850"},
		"grid":        {"M70 380H850", "M70 280H850", "M70 180H850", "M70 80H850"},
	} {
		if got := strings.Join(paths[class], "; "); got != strings.Join(want, "; ") {
			t.Errorf("paths of %s = %s, want %s", class, got, strings.Join(want, "; "))
		}
	}
	want := "Waits <of writers>; one; two & three; 1ms; 10ms; 100ms; 1s; 0; 0.1; 0.2; 0.3; 0.4; 0.5; 0.6; 0.7; 0.8; 0.9; 1; seconds; typical"
	if got := strings.Join(texts, "; "); got != want {
		t.Errorf("texts = %s\nwant    %s", got, want)
	}
	if !strings.Contains(picture.String(), "prefers-color-scheme: dark") {
		t.Error("the chart has no colours for a dark page")
	}
}

// elementsOf returns the paths of a picture by their class, and its texts.
func elementsOf(t *testing.T, picture []byte) (paths map[string][]string, texts []string) {
	t.Helper()
	paths = make(map[string][]string)
	decoder := xml.NewDecoder(bytes.NewReader(picture))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return paths, texts
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, picture)
		}
		start, isStart := token.(xml.StartElement)
		if !isStart {
			continue
		}
		switch start.Name.Local {
		case "path":
			attributes := make(map[string]string)
			for _, a := range start.Attr {
				attributes[a.Name.Local] = a.Value
			}
			paths[attributes["class"]] = append(paths[attributes["class"]], attributes["d"])
		case "text":
			var text string
			if err := decoder.DecodeElement(&text, &start); err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
	}
}
