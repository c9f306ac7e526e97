package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// What is measured says nothing at this size, but everything runs.
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures.json")
	chosen, err := parse([]string{"-rows", "200", "-rounds", "1", "-json", file})
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), chosen); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var figures triggerFigures
	if err := json.Unmarshal(document, &figures); err != nil {
		t.Fatal(err)
	}
	if len(figures) != len(works) {
		t.Errorf("%d figures, want %d", len(figures), len(works))
	}
	for _, f := range figures {
		if f.Nothing <= 0 || f.Sync <= 0 || f.Pair <= 0 {
			t.Errorf("%s was not measured: %+v", f.Work, f)
		}
	}
}

// The ways that are compared do the same to the same rows.
func TestTheWaysAreAlike(t *testing.T) {
	database := pgtest.NewDatabase(t)
	for _, way := range []string{withNothing, withSync, withPair} {
		if err := prepareSubject(t.Context(), database, way); err != nil {
			t.Fatal(err)
		}
		if _, err := measure(t.Context(), database, works[0].sql, 10); err != nil {
			t.Fatal(err)
		}
		want := int64(10)
		if way == withNothing {
			want = 0
		}
		if got := pgtest.QueryRow[int64](t, database, `SELECT count(*) FROM subject WHERE label = upper(name)`); got != want {
			t.Errorf("with %s, %d rows have a label, want %d", way, got, want)
		}
	}
}

func TestParseRefusesNonsense(t *testing.T) {
	for _, arguments := range [][]string{{"-rows", "0"}, {"-rounds", "x"}, {"more"}} {
		if _, err := parse(arguments); err == nil {
			t.Errorf("%v was taken", arguments)
		}
	}
}

func TestMain(m *testing.M) { pgtest.Main(m) }
