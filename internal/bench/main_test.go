package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(childMain())
	}
	pgtest.Main(m)
}

// What is measured says nothing at this size, but everything runs, and every figure is there.
func TestRun(t *testing.T) {
	directory := t.TempDir()
	jsonFile, svgFile := filepath.Join(directory, "figures.json"), filepath.Join(directory, "chart.svg")
	chosen, err := parse([]string{
		"-rows", "2000", "-trigger-rows", "200", "-writers", "2", "-idle", "200ms", "-reader", "600ms", "-kills", "1", "-tables", "5",
		"-json", jsonFile, "-svg", svgFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := run(t.Context(), chosen, &printed, t.Output()); err != nil {
		t.Fatalf("%v\n%s", err, &printed)
	}
	document, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(document, &r); err != nil {
		t.Fatal(err)
	}
	expectBackfill(t, r.Backfill)
	expectWriters(t, r.Writers)
	expectStall(t, r.Stall)
	if len(r.Trigger) != len(works) {
		t.Errorf("%d figures of triggers, want %d", len(r.Trigger), len(works))
	}
	for _, f := range r.Trigger {
		if f.Nothing <= 0 || f.Sync <= 0 || f.Pair <= 0 {
			t.Errorf("%s was not measured: %+v", f.Work, f)
		}
	}
	if r.Resume == nil || r.Resume.Batches <= 0 || r.Resume.Committed != 2000 {
		t.Errorf("resume was not measured: %+v", r.Resume)
	}
	if r.Memory == nil {
		t.Error("memory was not measured")
	}
	expectRefresh(t, r.Refresh)
	for _, want := range []string{"PostgreSQL " + r.Machine.PostgreSQL, oneUpdate.Name, patientWay, "Targets:"} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("%q was not printed:\n%s", want, &printed)
		}
	}
	if picture, err := os.ReadFile(svgFile); err != nil || !bytes.Contains(picture, []byte(keyBatches.Name)) {
		t.Errorf("the chart was not drawn: %v", err)
	}
}

func expectBackfill(t *testing.T, figures backfillFigures) {
	t.Helper()
	for _, name := range []string{oneUpdate.Name, keyBatches.Name, backfillWith(1).Name, backfillWith(2).Name} {
		f, measured := figures.of(name)
		if !measured || f.RowsPerSecond <= 0 || f.WAL <= 0 || f.Updates < 2000 || f.Longest > f.Seconds {
			t.Errorf("%s was not measured: %+v", name, f)
		}
	}
	if f, measured := figures.of(oneUpdate.Name); measured && f.Heap <= 0 {
		t.Errorf("the heap has not grown: %+v", f)
	}
}

func expectWriters(t *testing.T, figures writersFigures) {
	t.Helper()
	if len(figures) != len(liveWays) {
		t.Errorf("%d figures of writers, want %d", len(figures), len(liveWays))
	}
	for _, f := range figures {
		if f.Alone.PerSecond <= 0 || f.Alone.P99 < f.Alone.P50 || f.Alone.P50 <= 0 {
			t.Errorf("before %s, writers alone were not measured: %+v", f.Way, f.Alone)
		}
		if f.During.Longest <= 0 || len(f.During.Slices) == 0 || f.Errors != 0 {
			t.Errorf("writers during %s were not measured: %+v", f.Way, f)
		}
	}
}

func expectStall(t *testing.T, figures stallFigures) {
	t.Helper()
	if len(figures) != len(additions) {
		t.Errorf("%d figures of stalls, want %d", len(figures), len(additions))
	}
	for _, s := range figures {
		if s.Took <= 0 || s.Felt.Longest <= 0 || s.Errors != 0 {
			t.Errorf("%s was not measured: %+v", s.Way, s)
		}
	}
}

func expectRefresh(t *testing.T, figures *refreshFigures) {
	t.Helper()
	if figures == nil {
		t.Fatal("reading resources was not measured")
	}
	if figures.Resources != 15 || figures.Statements < 15 {
		t.Errorf("%d statements for %d resources", figures.Statements, figures.Resources)
	}
	if n := figures.of(sharedSessions).Connections; n < 1 || n > maxConnections {
		t.Errorf("%d connections for all resources, want at most %d", n, maxConnections)
	}
	if n := figures.of(ownSession).Connections; n < 15 {
		t.Errorf("%d connections with one for each of 15 resources", n)
	}
}

func TestVerifyFindsWhatIsMissingOrWrong(t *testing.T) {
	b := &bench{options: options{rows: 100}, server: pgtest.NewDatabase(t).Server, progress: t.Output()}
	table, err := b.trial(t.Context(), "verify")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(table.drop(t.Context()), b.origin.Drop(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if err := table.verify(t.Context()); err == nil || !strings.Contains(err.Error(), "100 rows were left out and 0 have wrong names") {
		t.Errorf("nothing is filled, and verify says: %v", err)
	}
	if _, err := updateAll(t.Context(), b, table); err != nil {
		t.Fatal(err)
	}
	if err := table.verify(t.Context()); err != nil {
		t.Errorf("everything is filled, and verify says: %v", err)
	}
	if _, err := table.Owner.Exec(t.Context(), "UPDATE users SET last_name = 'x' WHERE id = 7"); err != nil {
		t.Fatal(err)
	}
	if err := table.verify(t.Context()); err == nil || !strings.Contains(err.Error(), "0 rows were left out and 1 have wrong names") {
		t.Errorf("one name is wrong, and verify says: %v", err)
	}
}

// cancelling ends a run when it has said something.
type cancelling struct {
	io.Writer

	cancel context.CancelFunc
}

func (c cancelling) Write(p []byte) (int, error) {
	c.cancel()
	return c.Writer.Write(p)
}

func TestRunEndsWhenInterrupted(t *testing.T) {
	chosen, err := parse([]string{"-rows", "1000"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := run(ctx, chosen, io.Discard, cancelling{t.Output(), cancel}); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run ended with %v", err)
	}
}

func TestParseRefusesNonsense(t *testing.T) {
	for _, arguments := range [][]string{
		{"-rows", "0"}, {"-rounds", "x"}, {"more"}, {"-only", "speed"}, {"-workers", "1,none"}, {"-workers", "0"}, {"-think", "0"},
	} {
		if _, err := parse(arguments); err == nil {
			t.Errorf("%v was taken", arguments)
		}
	}
}
