package dualwrite

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// CheckRevert says that an undo takes the trigger away.
func (s *Spec) CheckRevert(ctx context.Context, env *stage.Env) (f *finding.Finding, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.ColumnSync, s.ID)
		if err != nil {
			return err
		}
		if record != nil && record.Retired() {
			f = finding.New(fmt.Sprintf("Destroying the sync of %s only forgets it", s.describe()),
				"A contract has retired its trigger; the table stays as it is.")
			return nil
		}
		f = finding.New(fmt.Sprintf("Destroying the sync of %s ends the dual write", s.describe()),
			fmt.Sprintf("Services that write one side only leave the other one as it is from then on. The data stays. It takes an ACCESS EXCLUSIVE "+
				"lock for a moment and changes metadata only:\n\n%s", finding.Indent(s.dropTrigger()+";\n"+s.dropFunction()+";")))
		return nil
	})
	return f, err
}

// Revert drops the trigger. What the ledger noted of writers goes with it.
func (s *Spec) Revert(ctx context.Context, env *stage.Env) ([]*finding.Finding, error) {
	var table *pg.Table
	var record *ledger.Stage
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		if record, err = env.Record(ctx, tx, ledger.ColumnSync, s.ID); err != nil || record == nil {
			return err
		}
		table, err = env.ReadTable(ctx, tx, s.Table, record)
		return err
	})
	gone := errors.Is(err, pg.ErrNoTable)
	switch {
	case err != nil && !gone:
		return nil, err
	case record == nil:
		return nil, nil
	case record.Retired():
		// An undo of the contract still needs to know what the old side was made of.
		return nil, env.DB.Tx(ctx, pgx.TxOptions{}, nil, func(tx pgx.Tx) error {
			return env.Ledger.SetStatus(ctx, tx, record.ID, ledger.Forgotten)
		})
	case gone:
		return nil, env.DB.Tx(ctx, pgx.TxOptions{}, nil, func(tx pgx.Tx) error {
			if err := s.exec(ctx, tx, s.dropFunction()); err != nil {
				return err
			}
			return s.forget(ctx, tx, env, record)
		})
	}
	return nil, env.Runner.Run(ctx, ddl.Change{
		Title: "Ending the sync of " + s.describe(), Table: table, Lock: ddl.AccessExclusive,
		Work: func(ctx context.Context, tx pgx.Tx) error {
			record, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnSync, s.ID)
			if err != nil || record == nil {
				return err
			}
			if err := s.Disarm(ctx, tx); err != nil {
				return err
			}
			return s.forget(ctx, tx, env, record)
		},
	})
}

func (s *Spec) forget(ctx context.Context, tx pgx.Tx, env *stage.Env, record *ledger.Stage) error {
	if err := env.Ledger.ForgetWriters(ctx, tx, record.Key); err != nil {
		return err
	}
	return env.Ledger.Delete(ctx, tx, record.ID)
}
