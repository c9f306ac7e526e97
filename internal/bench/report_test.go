package main

import (
	"bytes"
	"os"
	"testing"
)

func TestReport(t *testing.T) {
	r := report{
		Machine: machine{Processor: "Some CPU", Cores: 2, MemoryMiB: 8192, System: "linux/amd64", PostgreSQL: "15.18", Settings: map[string]string{"fsync": "on", "autovacuum": "off"}},
		Backfill: backfillFigures{
			{Way: oneUpdate.Name, Rows: 1000, RowsPerSecond: 100, usage: usage{Seconds: 10, Processor: 9, WAL: 10e6, Heap: 4e6, Indexes: 2e6, Updates: 1000, Longest: 10}},
			{Way: keyBatches.Name, Rows: 1000, RowsPerSecond: 80, usage: usage{Seconds: 12.5, Processor: 11, WAL: 11e6, Heap: 4e6, Indexes: 2e6, Updates: 1000, HOT: 0.01, Longest: 0.0416}},
			{Way: backfillWith(2).Name, Rows: 1000, RowsPerSecond: 200, Filling: 4, usage: usage{Seconds: 5, Processor: 7, WAL: 5e6, Heap: 1e6, Indexes: 1e6, Updates: 1010, HOT: 0.7, Longest: 0.1}},
			{Way: pgroll.Name, Note: errNotOnPath.Error()},
		},
		Writers: writersFigures{{
			Way: backfillWith(2).Name, RowsPerSecond: 150, Busy: 0.55, Own: 0.32, Alone: felt{PerSecond: 500, P50: 0.5, P99: 2, Longest: 8},
			During: felt{PerSecond: 490, P50: 0.6, P99: 3, Longest: 1200},
		}},
		Stall:   stallFigures{{Way: patientWay, Took: 30.2, Felt: felt{P99: 2, Longest: 90}}},
		Trigger: triggerFigures{{"INSERT", 2, 3, 4}},
		Resume:  &resumeFigures{Rows: 1000, Workers: 2, Kills: 4, Batches: 20, Committed: 1000, UndoneBatches: 6, UndoneRows: 250},
		Memory:  &memoryFigures{Rows: 1000, PeakMiB: 20.5},
	}
	want, err := os.ReadFile("testdata/report.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := r.write(options{}, &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the report is\n%s\nwant\n%s", &got, want)
	}
}
