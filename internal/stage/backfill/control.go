package backfill

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Known returns the backfill that the ledger has under the identity. One that was forgotten, or that a contract has retired,
// cannot run again and is not known.
func Known(ctx context.Context, env *stage.Env, id string) (spec *Spec, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.BatchedBackfill, id)
		if err != nil {
			return err
		}
		if record == nil || record.Status == ledger.Forgotten || record.Retired() {
			return unknown(ctx, tx, env, id)
		}
		known, err := stage.Decode[Spec](record.Spec)
		spec = &known
		return err
	})
	return spec, err
}

// unknown names the backfills that there are instead.
func unknown(ctx context.Context, tx pgx.Tx, env *stage.Env, id string) error {
	detail := "The ledger has none that could run. An apply of a postgres_batched_backfill begins one."
	if exists, err := env.Ledger.Exists(ctx, tx); err != nil {
		return err
	} else if exists {
		all, err := env.Ledger.AllProgress(ctx, tx)
		if err != nil {
			return err
		}
		names := make([]string, len(all))
		for i, p := range all {
			names[i] = p.Backfill
		}
		if len(names) > 0 {
			detail = "The ledger has these:\n" + finding.List(names) + "\n\nRefer to the id of the postgres_batched_backfill. One whose columns a contract " +
				"has taken away cannot run again."
		}
	}
	return finding.New(fmt.Sprintf("No backfill has the id %s", id), detail).At("id")
}

// Control is a function of the ledger by which operators stop running backfills, and let them go on.
type Control string

// The controls.
const (
	Pause  Control = "pause"
	Resume Control = "resume"
)

// Set calls the function for the backfill of that identity, or for all that run or were interrupted when it is "", and
// returns the identities of those.
func (c Control) Set(ctx context.Context, env *stage.Env, id string) (backfills []string, err error) {
	if id != "" {
		if _, err := Known(ctx, env, id); err != nil {
			return nil, err
		}
	}
	function := pg.TableName{Schema: env.Ledger.Schema, Name: string(c)}.SQL()
	err = env.DB.Tx(ctx, pgx.TxOptions{}, bookkeeping, func(tx pgx.Tx) error {
		if exists, err := env.Ledger.Exists(ctx, tx); err != nil || !exists {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT b FROM `+function+`(nullif($1, '')) AS b ORDER BY b`, id)
		if err != nil {
			return err
		}
		backfills, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	switch {
	case pg.IsInsufficientPrivilege(err):
		return nil, finding.New(fmt.Sprintf("The role may not %s backfills", c), fmt.Sprintf("The owner of the ledger can allow it:\n\n"+
			"  GRANT USAGE ON SCHEMA %s TO ...;\n  GRANT EXECUTE ON FUNCTION %s(text) TO ...;", pg.Quote(env.Ledger.Schema), function)).Because(err)
	case pg.SQLState(err) == stateNoData:
		return nil, finding.New(fmt.Sprintf("Backfill %s is complete", id), fmt.Sprintf("There is nothing to %s.", c)).At("id").Because(err)
	case err != nil:
		return nil, fmt.Errorf("%s backfills: %w", c, err)
	}
	return backfills, nil
}

// stateNoData is what the function raises when it says that no such backfill is running.
const stateNoData = "P0002"

// Progress returns how far the backfill is, as the ledger tells it.
func (s *Spec) Progress(ctx context.Context, env *stage.Env) (p ledger.Progress, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		p, err = env.Ledger.Progress(ctx, tx, s.ID)
		return err
	})
	return p, err
}

// Unfinished says that the backfill stopped when the time was up that limit names.
func (s *Spec) Unfinished(ctx context.Context, env *stage.Env, limit string) *finding.Finding {
	var at string
	if p, err := s.Progress(ctx, env); err == nil { // What is said without it is true as well.
		at = fmt.Sprintf(" at %.0f%%", p.Percent)
	}
	return finding.New(fmt.Sprintf("Backfill of %s stopped after %s%s", s.describe(), limit, at),
		"What was done is recorded in the database. Apply again to go on. Stages that need it to be complete fail until it is.")
}
