package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestDemo(t *testing.T) {
	for _, test := range []struct {
		name     string
		terminal bool
		hides    []string
	}{
		{name: "into a file", hides: []string{"\x1b", "\r"}},
		{name: "on a terminal", terminal: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := temporaryFolder(t)
			output, err := play(t, t.Context(), &console{terminal: test.terminal, colours: test.terminal}, nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			expectShown(t, output)
			expectHidden(t, output, append(test.hides, "overrides are in effect", "Refreshing state", "Saved the plan")...)
			if t.Failed() {
				t.Log(output)
			}
			expectEmpty(t, folder)
		})
	}
}

func expectShown(t *testing.T, output string) {
	t.Helper()
	bare := escape.ReplaceAllString(output, "")
	for _, part := range []string{
		"Step 1 of 7: Expand",
		"ADD COLUMN",
		"+ first_name  text",
		"Step 2 of 7: Sync",
		"CREATE OR REPLACE TRIGGER",
		"Step 3 of 7: Backfill",
		"complete, ",
		"Step 4 of 7: Who has not moved?",
		"Still writing full_name: billing",
		"Step 5 of 7: Contract, too early",
		"billing still writes full_name",
		"Step 6 of 7: Contract",
		"- full_name   text",
		"Step 7 of 7: Undo",
		"+ full_name   text",
		" rows checked, 0 wrong",
		"No changes",
		"no error, no wrong row",
	} {
		if !strings.Contains(bare, part) {
			t.Errorf("the demo does not show %q", part)
		}
	}
	if got := strings.Count(bare, "Apply complete! Resources: "); got != len(stages)-2 {
		t.Errorf("%d applies complete, want %d", got, len(stages)-2)
	}
}

func expectHidden(t *testing.T, output string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(output, part) {
			t.Errorf("the demo shows %q", part)
		}
	}
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	for _, moment := range []string{"change     adds", "postgres_batched_backfill.name: Creating..."} {
		t.Run(moment, func(t *testing.T) {
			folder := temporaryFolder(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			output, err := play(t, ctx, new(console), func(soFar string) {
				if strings.Contains(soFar, moment) {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that of the context\n%s", err, output)
			}
			expectEmpty(t, folder)
		})
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name      string
		keep      string
		arguments []string
		want      options
		wantErr   bool
	}{
		{name: "defaults", want: options{rows: 300_000, major: 17}},
		{name: "KEEP", keep: "1", want: options{rows: 300_000, major: 17, keep: true}},
		{name: "KEEP in a word", keep: "yes", want: options{rows: 300_000, major: 17, keep: true}},
		{name: "no KEEP", keep: "0", want: options{rows: 300_000, major: 17}},
		{name: "flags", arguments: []string{"-rows", "5", "-keep", "-major", "14"}, want: options{rows: 5, major: 14, keep: true}},
		{name: "no rows", arguments: []string{"-rows", "0"}, wantErr: true},
		{name: "an argument", arguments: []string{"5"}, wantErr: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("KEEP", test.keep)
			t.Setenv(pgtest.MajorVariable, "17")
			got, err := parse(test.arguments)
			if (err != nil) != test.wantErr {
				t.Fatalf("error %v, want one: %t", err, test.wantErr)
			}
			if err == nil && got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// play runs a small demo. printed is told all of the output so far, each time that there is more.
func play(t *testing.T, ctx context.Context, out *console, printed func(soFar string)) (string, error) {
	t.Helper()
	chosen, err := parse([]string{"-rows", "2000", "-keep=false"})
	if err != nil {
		t.Fatal(err)
	}
	page := &page{printed: printed}
	out.w = page
	d := &demo{options: chosen, out: out}
	err = d.run(ctx)
	return page.text.String(), err
}

// page is written to by one goroutine at a time: the console sees to that.
type page struct {
	text    strings.Builder
	printed func(soFar string)
}

func (p *page) Write(b []byte) (int, error) {
	p.text.Write(b)
	if p.printed != nil {
		p.printed(p.text.String())
	}
	return len(b), nil
}

// temporaryFolder is where everything that this test starts puts its files. As root the server runs as another account,
// which must be able to make its own folder there.
func temporaryFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, path := range []string{folder, filepath.Dir(folder)} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", folder)
	return folder
}

func expectEmpty(t *testing.T, folder string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Errorf("%s is left behind", entry.Name())
	}
}
