package atlantis

import (
	"slices"
	"strings"
	"testing"
)

func TestDiagnosticsAreFramed(t *testing.T) {
	const warning = "╷\n│ Warning: a\n│\n│   with x,\n╵\n"
	for name, c := range map[string]struct {
		output string
		want   []string
		err    string
	}{
		"none":             {"Plan: 1 to add", nil, ""},
		"two":              {"text\n" + warning + "╷\n│ Error: b\n│ \n│ c\n╵\ntext", []string{"Warning: a", "Error: b"}, ""},
		"text inside":      {strings.Replace(warning, "│   with", "   with", 1), nil, "broken"},
		"side outside":     {warning + "│ more", nil, "broken"},
		"end outside":      {warning + "╵", nil, "broken"},
		"begin inside":     {"╷\n" + warning, nil, "broken"},
		"never closed":     {strings.TrimSuffix(warning, "╵\n") + "│", nil, "open"},
		"without a title":  {"╷\n│ with x,\n╵", nil, "begins"},
		"empty":            {"╷\n╵", nil, "broken"},
		"end in a warning": {"╷\n│ Warning: a\n│ ╵\n╵", []string{"Warning: a"}, ""},
	} {
		got, err := Diagnostics(c.output)
		if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
