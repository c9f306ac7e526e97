package backfill

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

func TestSpan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		low, high time.Duration
		want      string
	}{
		{0, 0, "less than a minute"},
		{10 * time.Second, 40 * time.Second, "less than a minute"},
		{25 * time.Second, 70 * time.Second, "up to 1 minute"},
		{61 * time.Second, 177 * time.Second, "1 to 3 minutes"},
		{9 * time.Minute, 26 * time.Minute, "10 to 30 minutes"},
		{10 * time.Minute, 10 * time.Minute, "5 to 15 minutes"},
		{50 * time.Minute, 100 * time.Minute, "45 minutes to 1.5 hours"},
		{3 * time.Hour, 9 * time.Hour, "3 to 8 hours"},
		{20 * time.Hour, 50 * time.Hour, "18 hours to 2 days"},
		{100 * day, 200 * day, "more than 30 days"},
	} {
		if got := Span(c.low, c.high); got != c.want {
			t.Errorf("Span(%s, %s) = %q, want %q", c.low, c.high, got, c.want)
		}
	}
}

func TestEstimateCountsWindowsAndApplies(t *testing.T) {
	t.Parallel()
	weekend, err := ParseWindow([]string{"sat", "sun"}, "22:00", "04:00", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	if openings, open := (windows{weekend}).perWeek(); openings != 2 || open != 12*time.Hour {
		t.Errorf("the windows open %d times for %s", openings, open)
	}
	if openings, _ := (windows{{Start: 0, End: day, TimeZone: "UTC"}}).perWeek(); openings != 0 {
		t.Errorf("a window of all day opens %d times", openings)
	}
	e := estimate{rows: 1e7, low: 5 * time.Hour, high: 10 * time.Hour, wal: 3 << 30, basis: "from a test"}
	for want, o := range map[string]Options{
		"It takes 6 to 12 hours":                         {},
		"open for 6h0m0s each: it takes 1 to 2 of them.": {Windows: []Window{weekend}},
		"that is 10 to 20 applies.":                      {ApplyBudget: 30 * time.Minute},
		"that is 1 apply.":                               {ApplyBudget: day},
	} {
		if text := e.text(o); !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}

// Each window of the sample is visited once, and what is visited first is spread over the table.
func TestStrideVisitsAll(t *testing.T) {
	t.Parallel()
	for n := int64(1); n <= samplePages/sampleWindow+1; n++ {
		seen := make(map[int64]bool)
		for i := range n {
			seen[i*stride(n)%n] = true
		}
		if int64(len(seen)) != n {
			t.Errorf("of %d windows, %d are visited", n, len(seen))
		}
	}
}

// A partition may go away between the look at the catalogs and the sample.
func TestSampleOfAPartitionThatWentAway(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TABLE events (id bigint, n bigint) PARTITION BY RANGE (id);
		CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000);
		CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (1000) TO (9000);
		INSERT INTO events SELECT generate_series(1, 5000)`)
	env := stagetest.NewEnv(t, db.ConnString())
	spec := &Spec{Table: pg.TableName{Schema: "public", Name: "events"}, Set: map[string]string{"n": "id"}}
	var table *pg.Table
	err := env.DB.Look(t.Context(), func(tx pgx.Tx) (err error) {
		table, err = pg.ReadTable(t.Context(), tx, spec.Table)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found, why := spec.look(t.Context(), env, table); why != "" || found.rows != 5000 || found.needing != 5000 || !found.whole {
		t.Errorf("sample = %+v, %q", found, why)
	}
	db.Exec(t, `DROP TABLE events_2`)
	_, why := spec.look(t.Context(), env, table)
	if why != "a part of the table went away meanwhile" {
		t.Errorf("why = %q", why)
	}
	locker, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locker.Rollback(t.Context()) }()
	if _, err := locker.Exec(t.Context(), `LOCK TABLE events`); err != nil {
		t.Fatal(err)
	}
	if _, why := spec.look(t.Context(), env, table); why != "somebody holds a lock that keeps its rows from being read" {
		t.Errorf("why = %q", why)
	}
}
