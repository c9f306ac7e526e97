package contract

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// restoreNotNull makes the columns NOT NULL that were so, unless a row has no value: it stays nullable then. A valid CHECK spares
// SET NOT NULL the scan under its lock.
func (s *Spec) restoreNotNull(ctx context.Context, env *stage.Env, found *inspection) (missing []*finding.Finding, err error) {
	for _, name := range stage.SortedKeys(found.undo.Columns) {
		if now, there := found.table.Column(name); !there || now.NotNull || !found.undo.Columns[name].NotNull {
			continue
		}
		hole, err := s.hasNull(ctx, env, name)
		if err != nil {
			return nil, err
		}
		if !hole {
			err = s.setNotNull(ctx, env, found.table, name)
			hole = pg.SQLState(err) == stateCheckViolation
		}
		switch {
		case hole:
			if err := s.dropProof(ctx, env, found.table, name); err != nil {
				return nil, err
			}
			missing = append(missing, s.staysNullable(name))
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}

// dropProof drops what an attempt has left behind: it would refuse writers that have no value.
func (s *Spec) dropProof(ctx context.Context, env *stage.Env, table *pg.Table, name string) error {
	var left bool
	err := env.DB.Look(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = $1 AND conname = $2 AND NOT convalidated)`, table.OID,
			pg.FitName(name, "__not_null")).Scan(&left)
	})
	if err != nil || !left {
		return err
	}
	return s.alterInSteps(ctx, env, table, name, step{ddl.AccessExclusive, []string{"DROP CONSTRAINT IF EXISTS {proof}"}})
}

// stateCheckViolation is the SQLSTATE of a row that a CHECK forbids.
const stateCheckViolation = "23514"

func (s *Spec) setNotNull(ctx context.Context, env *stage.Env, table *pg.Table, name string) error {
	return s.alterInSteps(ctx, env, table, name,
		// A leftover of an interrupted undo is replaced.
		step{ddl.AccessExclusive, []string{"DROP CONSTRAINT IF EXISTS {proof}", "ADD CONSTRAINT {proof} CHECK ({column} IS NOT NULL) NOT VALID"}},
		step{ddl.ShareUpdateExclusive, []string{"VALIDATE CONSTRAINT {proof}"}},
		// Two statements: in one ALTER TABLE the constraint would be dropped before it could spare the scan.
		step{ddl.AccessExclusive, []string{"ALTER COLUMN {column} SET NOT NULL", "DROP CONSTRAINT {proof}"}})
}

// step is what runs in one transaction: actions of ALTER TABLE, in which {column} is the column and {proof} the constraint that
// proves it NOT NULL.
type step struct {
	lock    ddl.Lock
	actions []string
}

func (s *Spec) alterInSteps(ctx context.Context, env *stage.Env, table *pg.Table, column string, steps ...step) error {
	names := strings.NewReplacer("{column}", pg.Quote(column), "{proof}", pg.Quote(pg.FitName(column, "__not_null")))
	for _, st := range steps {
		statements := make([]ddl.Statement, len(st.actions))
		for i, action := range st.actions {
			statements[i].SQL = fmt.Sprintf("ALTER TABLE %s %s", s.Table.SQL(), names.Replace(action))
		}
		err := env.Runner.Run(ctx, ddl.Change{
			Title: fmt.Sprintf("NOT NULL of column %s", s.Table.Column(column)), Table: table, Lock: st.lock,
			Scans: st.lock == ddl.ShareUpdateExclusive,
			Work:  func(ctx context.Context, tx pgx.Tx) error { return run(ctx, tx, statements) },
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Spec) hasNull(ctx context.Context, env *stage.Env, column string) (hole bool, err error) {
	settings := []pg.Setting{{Name: "row_security", Value: "off"}, {Name: "statement_timeout", Value: "0"}}
	err = env.DB.Tx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, settings, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, fmt.Sprintf("SELECT EXISTS (SELECT FROM %s WHERE %s IS NULL)", s.Table.SQL(), pg.Quote(column))).Scan(&hole)
	})
	if err != nil {
		return false, fmt.Errorf("look for NULLs in %s: %w", s.Table.Column(column), err)
	}
	return hole, nil
}

func (s *Spec) staysNullable(name string) *finding.Finding {
	column := pg.Quote(name)
	return finding.New(fmt.Sprintf("Column %s is back, but nullable", s.Table.Column(name)),
		fmt.Sprintf("It was NOT NULL before the contract, and rows that were written since have no value in it:\n\n  SELECT * FROM %[1]s WHERE %[2]s "+
			"IS NULL;\n\nFill them, and then, without blocking anybody:\n\n"+
			"  ALTER TABLE %[1]s ADD CONSTRAINT proof CHECK (%[2]s IS NOT NULL) NOT VALID;\n"+
			"  ALTER TABLE %[1]s VALIDATE CONSTRAINT proof;\n"+
			"  ALTER TABLE %[1]s ALTER COLUMN %[2]s SET NOT NULL;\n"+
			"  ALTER TABLE %[1]s DROP CONSTRAINT proof;", s.Table.SQL(), column))
}
