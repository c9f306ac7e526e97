package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// awaitTable waits for locks that keep updates of a leaf out as a whole, such as that of CREATE INDEX. It returns whether
// there was one.
func (j *job) awaitTable(ctx context.Context, leaf pg.TableName) (waited bool, err error) {
	// EXPLAIN takes the lock of an update and fires no trigger.
	sql := "EXPLAIN " + j.spec.update(leaf, "true")
	settings := []pg.Setting{pg.Timeout("lock_timeout", j.rowLockTimeout)}
	for started := time.Now(); ; waited = true {
		err := j.env.DB.Tx(ctx, pgx.TxOptions{}, settings, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql)
			return err
		})
		if !pg.IsContention(err) {
			return waited, err
		}
		if since := time.Since(started); since > j.env.RetryFor {
			return waited, j.lockedTable(ctx, leaf, sql, since)
		}
		if err := sleep(ctx, j.rowLockTimeout); err != nil {
			return waited, err
		}
	}
}

// lockedRow names who holds a row that the sweep could not get.
func (j *job) lockedRow(ctx context.Context, l *leftover) error {
	r := l.rows[0]
	return j.lockedFinding(ctx, fmt.Sprintf("The row at %s of %s, at least, has been locked for %s. All rows that could be had are done "+
		"and recorded.", r.address, l.leaf.Name, j.env.RetryFor),
		// Whether it is the row or the whole table.
		"EXPLAIN "+j.spec.update(l.leaf.Name, "true"),
		fmt.Sprintf("SELECT FROM ONLY %s WHERE ctid = '%s' FOR NO KEY UPDATE", l.leaf.Name.SQL(), r.address))
}

// lockedTable names who holds a lock on a table for which the statement waits.
func (j *job) lockedTable(ctx context.Context, table pg.TableName, waiting string, waited time.Duration) error {
	return j.lockedFinding(ctx, fmt.Sprintf("Table %s has been locked for %s. What was done before is recorded.", table,
		waited.Round(time.Second/10)), waiting)
}

// lockedFinding names who holds what the statements wait for.
func (j *job) lockedFinding(ctx context.Context, detail string, waiting ...string) error {
	blockers, err := j.blockersOf(ctx, waiting)
	if err != nil {
		j.env.Log.WarnContext(ctx, "could not find out who holds a lock", "error", err)
	}
	who, remedies := make([]string, len(blockers)), ""
	for i, b := range blockers {
		who[i] = b.String()
		remedies += b.Remedy() + "\n"
	}
	act := "Apply again when the transaction that holds the lock has ended."
	if len(blockers) > 0 {
		detail += "\n\nIt is held by:\n" + finding.List(who)
		act = "Apply again when they have ended, or end them:\n\n" + finding.Indent(remedies)
	}
	return finding.New(fmt.Sprintf("Backfill of %s cannot get rows that others hold", j.spec.describe()),
		finding.Paragraphs(detail, act))
}

// blockersOf runs statements that wait for a lock, for a moment and holding no row, and looks meanwhile who is in the
// way.
func (j *job) blockersOf(ctx context.Context, waiting []string) (blockers []pg.Session, err error) {
	pid := make(chan int32, 1)
	waited := make(chan error, 1)
	go func() {
		settings := []pg.Setting{pg.Timeout("lock_timeout", time.Second)}
		waited <- j.env.DB.Tx(ctx, pgx.TxOptions{}, settings, func(tx pgx.Tx) error {
			var self int32
			if err := tx.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&self); err != nil {
				return err
			}
			pid <- self
			for _, sql := range waiting {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	var self int32
	select {
	case self = <-pid:
	case err := <-waited:
		return nil, err
	}
	for len(blockers) == 0 {
		select {
		case err := <-waited:
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
		err := j.env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
			blockers, err = pg.Blockers(ctx, tx, self)
			return err
		})
		if err != nil {
			return nil, errors.Join(err, <-waited)
		}
	}
	j.env.Log.DebugContext(ctx, "the wait for a lock ended", "error", <-waited) // as its lock_timeout does
	return blockers, nil
}
