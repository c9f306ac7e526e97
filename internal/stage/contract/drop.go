package contract

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// dropAll archives the columns that wait in quarantine, and drops them.
func (s *Spec) dropAll(ctx context.Context, env *stage.Env) error {
	var found *inspection
	look := func(tx pgx.Tx) (err error) {
		if found, err = s.inspect(ctx, tx, env); err != nil || found.done {
			return err
		}
		return s.checkTexts(ctx, tx, env, found)
	}
	if err := env.DB.Look(ctx, look); err != nil || found.done {
		return err
	}
	if s.Archive {
		if err := s.copyAll(ctx, env); err != nil {
			if lookErr := env.DB.Look(ctx, look); lookErr == nil && found.done {
				return nil // Another apply has dropped them meanwhile.
			}
			return err
		}
	}
	return env.Runner.Run(ctx, ddl.Change{
		Title: fmt.Sprintf("Drop of columns of %s", s.describe()), Table: found.table, Lock: ddl.AccessExclusive,
		Work: func(ctx context.Context, tx pgx.Tx) error { return s.dropUnderLock(ctx, tx, env) },
	})
}

// dropUnderLock drops the columns, and the triggers of the syncs that kept them.
func (s *Spec) dropUnderLock(ctx context.Context, tx pgx.Tx, env *stage.Env) error {
	record, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnContract, s.ID)
	if err != nil {
		return err
	}
	found, err := s.inspect(ctx, tx, env)
	if err != nil || found.done {
		return err
	}
	if record == nil || found.place != inQuarantine || found.undo.Begun || (s.Archive && found.undo.Archive == nil) {
		return errUndone
	}
	kept := found.undo
	err = expression.InSafePath(ctx, tx, expression.Scope{Table: found.table}, func(expression.Scope) error {
		present, err := readBelongings(ctx, tx, found.table, found.names())
		kept.Belongings = reconcile(kept.Belongings, present)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range s.Columns {
		for _, sequence := range kept.Columns[name].Sequences {
			// It would go with the column, and the default of the undo needs it.
			if _, err := tx.Exec(ctx, "ALTER SEQUENCE IF EXISTS "+sequence+" OWNED BY NONE"); err != nil {
				return fmt.Errorf("keep sequence %s: %w", sequence, err)
			}
		}
	}
	retired, err := retiredSyncs(ctx, tx, env, record)
	if err != nil {
		return err
	}
	for _, k := range retired {
		if err := k.spec.Disarm(ctx, tx); err != nil {
			return err
		}
	}
	if err := run(ctx, tx, s.drop()); err != nil {
		return err
	}
	if record.Spec, err = stage.Encode(s); err != nil {
		return err
	}
	if record.Undo, err = stage.Encode(&kept); err != nil {
		return err
	}
	record.Status = ledger.Complete
	return env.Ledger.Put(ctx, tx, record)
}

// retiredSyncs returns the syncs that the contract has retired.
func retiredSyncs(ctx context.Context, tx pgx.Tx, env *stage.Env, contract *ledger.Stage) (keepers []*keeper, err error) {
	records, err := env.Ledger.RetiredBy(ctx, tx, contract.ID)
	if err != nil {
		return nil, err
	}
	for _, record := range records {
		if record.Kind != ledger.ColumnSync {
			continue
		}
		k := &keeper{record: record}
		if k.spec, err = stage.Decode[dualwrite.Spec](record.Spec); err != nil {
			return nil, err
		}
		keepers = append(keepers, k)
	}
	return keepers, nil
}
