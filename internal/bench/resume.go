package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// resumeFigures are of a backfill that was killed and went on.
type resumeFigures struct {
	Rows    int `json:"rows"`
	Workers int `json:"workers"`
	Kills   int `json:"kills"` // that hit it at work
	// Committed are the rows of the batches that committed. More than Rows would be rows that were done twice.
	Batches   int64 `json:"batches_committed"`
	Committed int64 `json:"rows_committed"`
	// Undone are the batches and rows that a kill undid, and that had to be done again.
	UndoneBatches int64 `json:"batches_undone"`
	UndoneRows    int64 `json:"rows_undone"`
}

// redone is how many batches a kill cost, on average.
func (r *resumeFigures) redone() float64 { return float64(r.UndoneBatches) / float64(max(r.Kills, 1)) }

// noteBatches notes each UPDATE that commits, with its rows, and counts each that begins: the number of a sequence is not
// taken back with its transaction. Triggers for each row would slow down what is killed.
const noteBatches = `
CREATE SEQUENCE begun;
CREATE TABLE batch (rows bigint NOT NULL);
CREATE FUNCTION count_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nextval('public.begun');
  RETURN NULL;
END $$;
CREATE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.batch SELECT count(*) FROM changed;
  RETURN NULL;
END $$;
CREATE TRIGGER count_batch BEFORE UPDATE ON users FOR EACH STATEMENT EXECUTE FUNCTION count_batch();
CREATE TRIGGER note_batch AFTER UPDATE ON users REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_batch();`

// atLeastFor is how long the backfill takes even of a small table: it must be there to be killed.
const atLeastFor = 2 // seconds

func runResume(ctx context.Context, b *bench) (err error) {
	t, err := b.trial(ctx, "resume")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.drop(ctx)) }()
	if _, err := t.Owner.Exec(ctx, noteBatches); err != nil {
		return err
	}
	options := backfill.Options{Workers: backfill.DefaultWorkers, MaxRowsPerSecond: float64(t.rows) / atLeastFor}
	figures := &resumeFigures{Rows: t.rows, Workers: options.Workers}
	for kill := range b.kills {
		at := int64(t.rows) * int64(kill+1) / int64(b.kills+1)
		hit, err := killAt(ctx, t, options, at)
		if err != nil {
			return err
		}
		if hit {
			figures.Kills++
		}
		b.say("resume: killed when %d rows were done", at)
	}
	c, err := startChild(ctx, t, options)
	if err != nil {
		return err
	}
	if _, err := c.wait(); err != nil {
		return err
	}
	if err := t.alone(ctx); err != nil {
		return err
	}
	var begun int64
	err = t.Super.QueryRow(ctx, `
SELECT (SELECT last_value FROM begun), count(*), coalesce(sum(rows), 0)::bigint FROM batch`).Scan(&begun, &figures.Batches, &figures.Committed)
	if err != nil {
		return err
	}
	updates, err := t.updates(ctx, figures.Committed)
	if err != nil {
		return err
	}
	figures.UndoneBatches, figures.UndoneRows = begun-figures.Batches, updates-figures.Committed
	b.report.Resume = figures
	recorded, err := t.recorded(ctx)
	if err == nil && recorded != figures.Committed {
		err = fmt.Errorf("the ledger counts %d rows, and %d were updated", recorded, figures.Committed)
	}
	return errors.Join(err, t.verify(ctx))
}

// killAt runs the backfill in a process of its own and kills that when so many rows are recorded as done.
func killAt(ctx context.Context, t *trial, options backfill.Options, rows int64) (hit bool, err error) {
	c, err := startChild(ctx, t, options)
	if err != nil {
		return false, err
	}
	for {
		recorded, err := t.recorded(ctx)
		if err != nil {
			c.kill()
			return false, err
		}
		if recorded >= rows {
			return c.kill(), nil
		}
		select {
		case <-c.ended:
			_, err := c.wait() // it was faster than we looked
			return false, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// recorded is how many rows the ledger says were updated.
func (t *trial) recorded(ctx context.Context) (rows int64, err error) {
	var exists bool
	view := pg.TableName{Schema: ledger.DefaultSchema, Name: "progress"}.SQL()
	if err := t.Owner.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", view).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	err = t.Owner.QueryRow(ctx, "SELECT coalesce(sum(rows_updated), 0)::bigint FROM "+view).Scan(&rows)
	return rows, err
}

func (r *resumeFigures) print(to io.Writer) error {
	fmt.Fprintf(to, "\nA backfill of %s rows with %d workers that was killed %d times:\n\n", count(int64(r.Rows)), r.Workers, r.Kills)
	table := newTable(to, "", "batches", "rows")
	table.row("committed", count(r.Batches), count(r.Committed))
	table.row("undone by the kills", count(r.UndoneBatches), count(r.UndoneRows))
	return table.flush()
}

func (r *resumeFigures) targets() []target {
	return []target{
		atMost("rows committed twice after kill -9", float64(r.Committed-int64(r.Rows)), 0),
		atMost("batches done again for each kill -9", r.redone(), float64(r.Workers)),
	}
}
