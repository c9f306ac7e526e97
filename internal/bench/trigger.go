package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// The ways to keep two columns equal that are compared.
const (
	withNothing = "no trigger"
	withSync    = "column_sync"
	withPair    = "trigger pair"
)

// work is a statement over all rows.
type work struct{ name, sql string }

var works = []work{
	{"INSERT of the old side", `INSERT INTO subject (id, name, email) SELECT n, 'First' || n || ' Last', 'user' || hashint8(n) FROM generate_series(1, $1::int) n`},
	{"UPDATE of the old side", `UPDATE subject SET name = name || 'x' WHERE id <= $1`},
	{"UPDATE of the new side", `UPDATE subject SET label = label || 'x' WHERE id <= $1`},
	{"UPDATE of another column", `UPDATE subject SET visits = visits + 1 WHERE id <= $1`},
}

const subject = `
CREATE TABLE subject (
  id bigint PRIMARY KEY,
  name text,
  email text,
  visits integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  label text
);
CREATE INDEX ON subject (email)`

// pair is what tools make that have a trigger for each direction: each declares all columns as variables, and decides by
// the schema on the session's search path whether it is its turn.
const pair = `
CREATE FUNCTION set_label() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  id subject.id%TYPE := NEW.id;
  name subject.name%TYPE := NEW.name;
  email subject.email%TYPE := NEW.email;
  visits subject.visits%TYPE := NEW.visits;
  created_at subject.created_at%TYPE := NEW.created_at;
  label subject.label%TYPE := NEW.label;
  path text;
BEGIN
  SELECT current_setting INTO path FROM current_setting('search_path');
  IF path <> 'release_2' THEN
    NEW.label := upper(name);
  END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION set_name() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  id subject.id%TYPE := NEW.id;
  name subject.name%TYPE := NEW.name;
  email subject.email%TYPE := NEW.email;
  visits subject.visits%TYPE := NEW.visits;
  created_at subject.created_at%TYPE := NEW.created_at;
  label subject.label%TYPE := NEW.label;
  path text;
BEGIN
  SELECT current_setting INTO path FROM current_setting('search_path');
  IF path = 'release_2' THEN
    NEW.name := lower(label);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER set_label BEFORE INSERT OR UPDATE ON subject FOR EACH ROW EXECUTE FUNCTION set_label();
CREATE TRIGGER set_name BEFORE INSERT OR UPDATE ON subject FOR EACH ROW EXECUTE FUNCTION set_name();`

// figure is the cost of one row, in microseconds.
type figure struct {
	Work    string  `json:"work"`
	Nothing float64 `json:"no_trigger_us"`
	Sync    float64 `json:"column_sync_us"`
	Pair    float64 `json:"trigger_pair_us"`
}

// ratio is what the sync adds to a row, divided by what the pair adds.
func (f figure) ratio() float64 { return (f.Sync - f.Nothing) / (f.Pair - f.Nothing) }

type triggerFigures []figure

// triggerRounds is how often everything is measured.
const triggerRounds = 3

// runTrigger takes turns, so that a busy moment of the machine does not hit one way only, and keeps the fastest.
func runTrigger(ctx context.Context, b *bench) (err error) {
	database, err := b.server.CreateDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Drop(context.WithoutCancel(ctx))) }()
	best := make(map[string]map[string]time.Duration)
	for _, way := range []string{withNothing, withSync, withPair} {
		best[way] = make(map[string]time.Duration)
	}
	for round := range triggerRounds {
		b.say("trigger: round %d of %d", round+1, triggerRounds)
		for way, fastest := range best {
			if err := prepareSubject(ctx, database, way); err != nil {
				return fmt.Errorf("%s: %w", way, err)
			}
			for _, w := range works {
				took, err := measure(ctx, database, w.sql, b.triggerRows)
				if err != nil {
					return fmt.Errorf("%s with %s: %w", w.name, way, err)
				}
				if was, measured := fastest[w.name]; !measured || took < was {
					fastest[w.name] = took
				}
			}
		}
	}
	for _, w := range works {
		perRow := func(way string) float64 {
			return float64(best[way][w.name].Microseconds()) / float64(b.triggerRows)
		}
		b.report.Trigger = append(b.report.Trigger, figure{w.name, perRow(withNothing), perRow(withSync), perRow(withPair)})
	}
	return nil
}

func prepareSubject(ctx context.Context, database *pgtest.Database, way string) error {
	_, err := database.Owner.Exec(ctx, `DROP TABLE IF EXISTS subject; DROP SCHEMA IF EXISTS terraform_postgres CASCADE;
		DROP FUNCTION IF EXISTS set_label, set_name;`+subject)
	if err != nil {
		return err
	}
	switch way {
	case withSync:
		return makeSync(ctx, database)
	case withPair:
		_, err = database.Owner.Exec(ctx, pair)
	}
	return err
}

// makeSync makes the sync just as an apply does.
func makeSync(ctx context.Context, database *pgtest.Database) error {
	table := pg.TableName{Schema: "public", Name: "subject"}
	return applySync(ctx, database.ConnString(), table, map[string]string{"label": "upper(name)"}, map[string]string{"name": "lower(label)"})
}

// measure runs a statement in a session of its own, after a checkpoint, and returns how much time of a processor it took.
func measure(ctx context.Context, database *pgtest.Database, sql string, rows int) (took time.Duration, err error) {
	for _, sql := range []string{"VACUUM subject", "CHECKPOINT"} {
		if _, err := database.Super.Exec(ctx, sql); err != nil {
			return 0, err
		}
	}
	conn, err := pgx.Connect(ctx, database.ConnString())
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	began := processorTime(conn.PgConn().PID())
	_, err = conn.Exec(ctx, sql, rows)
	return processorTime(conn.PgConn().PID()) - began, err
}

// processorTime returns the time that a process has had a processor, which does not depend on who else is busy on the
// machine. Where the system does not tell, it is the time on the clock.
func processorTime(pid uint32) time.Duration {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid)) // documented in Documentation/scheduler/sched-stats.rst of Linux
	var nanoseconds int64
	if err == nil {
		_, err = fmt.Sscan(string(content), &nanoseconds)
	}
	if err != nil || nanoseconds == 0 {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(nanoseconds)
}

func (figures triggerFigures) targets() []target { return nil }

func (figures triggerFigures) print(to io.Writer) error {
	fmt.Fprintln(to, "\nWhat keeping two columns equal costs, in microseconds for each row of one large statement:")
	fmt.Fprintln(to)
	table := newTable(to, "", withNothing, withSync, withPair, "added by the sync ÷ by the pair")
	for _, f := range figures {
		table.row(f.Work, fmt.Sprintf("%.1f", f.Nothing), fmt.Sprintf("%.1f", f.Sync), fmt.Sprintf("%.1f", f.Pair), fmt.Sprintf("%.2f", f.ratio()))
	}
	return table.flush()
}
