package backfill

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Read returns what the ledger says of the backfill. A table that was dropped, or dropped and made anew, takes its
// backfills with it, except those that a contract has retired: they can never run again.
func (s *Spec) Read(ctx context.Context, env *stage.Env) (state *State, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.BatchedBackfill, s.ID)
		if err != nil || record == nil || record.Status == ledger.Forgotten {
			return err
		}
		if !record.Retired() && pg.IsGone(ctx, tx, record.TableOID) {
			return nil
		}
		spec, err := stage.Decode[Spec](record.Spec)
		if err != nil {
			return err
		}
		status := record.Status
		if status == ledger.Complete && !record.Retired() {
			// A target that was dropped or renamed is added anew, and is empty then.
			filled, err := stage.StillNamed(ctx, tx, record.TableOID, record.Writes, spec.Targets())
			if err != nil {
				return err
			}
			if !filled {
				status = ledger.Running
			}
		}
		rows, err := env.Ledger.RowsUpdated(ctx, tx, record.ID)
		state = &State{Status: status, RowsUpdated: rows, Spec: spec}
		return err
	})
	return state, err
}

// CheckRevert says that an undo leaves the data alone.
func (s *Spec) CheckRevert(ctx context.Context, env *stage.Env) (*finding.Finding, error) {
	return finding.New(fmt.Sprintf("Destroying the backfill of %s only forgets it", s.describe()),
		"The rows keep the values that it wrote. The ledger keeps from what they were computed, so that an undo of the expand can tell "+
			"whether the columns hold anything that is nowhere else."), nil
}

// Revert forgets the backfill; the data stays. It refuses while an apply is running it, and waits for one that is about to.
func (s *Spec) Revert(ctx context.Context, env *stage.Env) ([]*finding.Finding, error) {
	started := time.Now()
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.forget(ctx, env)
		if err != nil && !pg.IsContention(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(backoff.NewConstantBackOff(500*time.Millisecond)), backoff.WithMaxElapsedTime(max(env.RetryFor, 1))) // 0 would be for ever.
	if pg.IsContention(err) {
		blocked := &job{spec: s, env: env}
		err = blocked.lockedFinding(ctx, fmt.Sprintf("The ledger's record of the backfill has been locked for %s.",
			time.Since(started).Round(time.Second/10)), s.lockRecord(env))
	}
	return nil, err
}

// lockRecord waits for whoever holds the ledger's record.
func (s *Spec) lockRecord(env *stage.Env) string {
	return fmt.Sprintf("SELECT FROM %s WHERE kind = '%s' AND key = %s FOR NO KEY UPDATE",
		pg.TableName{Schema: env.Ledger.Schema, Name: "stage"}.SQL(), ledger.BatchedBackfill, pg.Literal(s.ID))
}

func (s *Spec) forget(ctx context.Context, env *stage.Env) error {
	return env.DB.Tx(ctx, pgx.TxOptions{}, bookkeeping, func(tx pgx.Tx) error {
		exists, err := env.Ledger.Exists(ctx, tx)
		if err != nil || !exists {
			return err
		}
		record, err := env.Ledger.LockStage(ctx, tx, ledger.BatchedBackfill, s.ID)
		if err != nil || record == nil {
			return err
		}
		holder, err := env.Ledger.LeaseHolder(ctx, tx, record.ID)
		if err != nil {
			return err
		}
		if holder != "" {
			return finding.New(fmt.Sprintf("Backfill of %s is running", s.describe()),
				fmt.Sprintf("It is being run by %s. Stop that apply first, and destroy then.", holder))
		}
		return env.Ledger.SetStatus(ctx, tx, record.ID, ledger.Forgotten)
	})
}
