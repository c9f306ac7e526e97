package main

import "testing"

func TestProgressLine(t *testing.T) {
	for _, test := range []struct {
		progress progress
		want     string
	}{
		{
			progress{Status: "walk", Percent: 51.2, RowsUpdated: 305139, RowsEstimated: 600000},
			"████████░░░░░░░░  51.2 %    305,139 of about 600,000 rows  203,161 rows/s",
		},
		{
			progress{Status: "walk", Percent: 0, RowsEstimated: -1},
			"░░░░░░░░░░░░░░░░   0.0 %          0 rows  203,161 rows/s",
		},
		{
			progress{Status: "sweep", Percent: 100, RowsUpdated: 599900, RowsEstimated: 600000},
			"████████████████ proving that no row is left, 599,900 rows updated",
		},
	} {
		if got := test.progress.bar() + test.progress.line(203161); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}
