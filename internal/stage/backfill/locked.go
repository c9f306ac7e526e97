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

// lockedFinding names who holds a row that the sweep could not get.
func (j *job) lockedFinding(ctx context.Context, r row) error {
	blockers, err := j.blockersOf(ctx, r)
	if err != nil {
		j.env.Log.WarnContext(ctx, "could not find out who holds a row", "error", err)
	}
	who, remedies := make([]string, len(blockers)), ""
	for i, b := range blockers {
		who[i] = b.String()
		remedies += b.Remedy() + "\n"
	}
	detail := fmt.Sprintf("The row at %s of %s, at least, has been locked for %s. All other rows are done and recorded.",
		r.address, r.leaf, j.env.RetryFor)
	act := "Apply again when the transaction that holds it has ended."
	if len(blockers) > 0 {
		detail += "\n\nIt is held by:\n" + finding.List(who)
		act = "Apply again when they have ended, or end them:\n\n" + finding.Indent(remedies)
	}
	return finding.New(fmt.Sprintf("Backfill of %s cannot get rows that others hold", j.spec.describe()),
		finding.Paragraphs(detail, act))
}

// blockersOf waits for the row for a moment, holding no other, and looks meanwhile who is in the way.
func (j *job) blockersOf(ctx context.Context, r row) (blockers []pg.Session, err error) {
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
			_, err := tx.Exec(ctx, fmt.Sprintf("SELECT FROM ONLY %s WHERE ctid = $1::tid FOR NO KEY UPDATE", r.leaf.SQL()), r.address)
			return err
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
	j.env.Log.DebugContext(ctx, "the wait for a row ended", "error", <-waited) // as its lock_timeout does
	return blockers, nil
}
