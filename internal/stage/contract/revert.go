package contract

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// CheckRevert says that a quarantine is undone by renaming, and that a drop cannot be undone.
func (s *Spec) CheckRevert(ctx context.Context, env *stage.Env) (*finding.Finding, error) {
	if s.Mode == Drop {
		return nil, s.cannotBringBack()
	}
	renames := make([]string, len(s.Columns))
	for i, name := range s.Columns {
		renames[i] = s.renameBackSQL(quarantined(name), name) + ";"
	}
	return finding.New(fmt.Sprintf("Destroying the contract brings columns of %s back", s.describe()),
		fmt.Sprintf("It renames them back, with all values, under an ACCESS EXCLUSIVE lock for a moment:\n\n%s\n\nRows that were written "+
			"meanwhile have NULL in them, unless there is a default; a backfill in the other direction can fill them.\n\nTo leave the table as it is and only forget the resource, use a removed block with "+
			"destroy = false.", finding.Indent(strings.Join(renames, "\n")))), nil
}

func (s *Spec) cannotBringBack() error {
	return finding.New(fmt.Sprintf("Dropped columns of %s cannot be brought back", s.describe()),
		"Their values are gone with the drop. To forget the resource and leave the table as it is, put this in place of it:\n\n"+
			"  removed {\n    from = postgres_column_contract.NAME\n    lifecycle {\n      destroy = false\n    }\n  }\n\nOpenTofu before 1.10 forgets with removed alone, without the lifecycle block.")
}

// Revert renames quarantined columns back and wakes the stages that the contract had retired.
func (s *Spec) Revert(ctx context.Context, env *stage.Env) ([]*finding.Finding, error) {
	found, err := s.away(ctx, env)
	if err != nil || found == nil {
		return nil, err
	}
	var missing []*finding.Finding
	var restore []string // columns that become NOT NULL again
	for _, name := range s.Columns {
		was := found.undo[name]
		now, there := found.table.ColumnByNumber(was.Attnum)
		if !there {
			return nil, s.cannotBringBack()
		}
		if !was.NotNull || now.NotNull {
			continue
		}
		hole, err := s.hasNull(ctx, env, now.Name)
		if err != nil {
			return nil, err
		}
		if hole {
			missing = append(missing, s.staysNullable(name))
			continue
		}
		restore = append(restore, name)
	}
	title := fmt.Sprintf("Bringing columns of %s back", s.describe())
	steps := []ddl.Change{
		{Title: title, Lock: ddl.AccessExclusive, Work: func(ctx context.Context, tx pgx.Tx) error {
			return s.renameBack(ctx, tx, env, restore)
		}},
		{Title: title, Lock: ddl.ShareUpdateExclusive, Scans: true, Work: func(ctx context.Context, tx pgx.Tx) error {
			return s.each(ctx, tx, restore, "VALIDATE CONSTRAINT {proof}")
		}},
		// Two statements: in one ALTER TABLE the constraint would be dropped before it could spare the scan.
		{Title: title, Lock: ddl.AccessExclusive, Work: func(ctx context.Context, tx pgx.Tx) error {
			return s.each(ctx, tx, restore, "ALTER COLUMN {column} SET NOT NULL", "DROP CONSTRAINT {proof}")
		}},
	}
	if len(restore) == 0 {
		steps = steps[:1]
	}
	for _, step := range steps {
		step.Table = found.table
		if err := env.Runner.Run(ctx, step); err != nil {
			return nil, err
		}
	}
	err = env.DB.Tx(ctx, pgx.TxOptions{}, nil, func(tx pgx.Tx) error { return env.Ledger.Delete(ctx, tx, found.record.ID) })
	return missing, err
}

// away reads what was taken away; nil means that there is nothing to bring back.
func (s *Spec) away(ctx context.Context, env *stage.Env) (found *inspection, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.ColumnContract, s.ID)
		if err != nil || record == nil {
			return err
		}
		table, err := env.ReadTable(ctx, tx, s.Table, record)
		if err != nil && !errors.Is(err, pg.ErrNoTable) {
			return err
		}
		if table == nil || table.OID != record.TableOID {
			return nil
		}
		found = &inspection{record: record, table: table}
		found.undo, err = stage.Decode[undo](record.Undo)
		return err
	})
	return found, err
}

// renameBack gives the columns their names back. It may run again after an interruption.
func (s *Spec) renameBack(ctx context.Context, tx pgx.Tx, env *stage.Env, restore []string) error {
	record, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnContract, s.ID)
	if err != nil || record == nil {
		return err
	}
	table, err := pg.ReadTable(ctx, tx, s.Table)
	if err != nil {
		return err
	}
	taken, err := stage.Decode[undo](record.Undo)
	if err != nil {
		return err
	}
	for _, name := range s.Columns {
		now, there := table.ColumnByNumber(taken[name].Attnum)
		if !there || now.Name == name {
			continue
		}
		if _, occupied := table.Column(name); occupied {
			return finding.New(fmt.Sprintf("Column %s exists again", s.Table.Column(name)),
				fmt.Sprintf("Somebody added it while the old one waited as %s. Rename or drop the new one first.", pg.Quote(now.Name)))
		}
		sql := s.renameBackSQL(now.Name, name)
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	// A leftover of an interrupted undo is replaced.
	if err := s.each(ctx, tx, restore, "DROP CONSTRAINT IF EXISTS {proof}", "ADD CONSTRAINT {proof} CHECK ({column} IS NOT NULL) NOT VALID"); err != nil {
		return err
	}
	return env.Ledger.Reinstate(ctx, tx, record)
}

func (s *Spec) renameBackSQL(from, to string) string {
	return fmt.Sprintf("ALTER TABLE %s RENAME COLUMN %s TO %s", s.Table.SQL(), pg.Quote(from), pg.Quote(to))
}

// each runs ALTER TABLE with each action for each column. In an action, {column} is the column and {proof} the constraint
// that proves it NOT NULL.
func (s *Spec) each(ctx context.Context, tx pgx.Tx, columns []string, actions ...string) error {
	for _, name := range columns {
		names := strings.NewReplacer("{column}", pg.Quote(name), "{proof}", pg.Quote(pg.FitName(name, "__not_null")))
		for _, action := range actions {
			sql := fmt.Sprintf("ALTER TABLE %s %s", s.Table.SQL(), names.Replace(action))
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
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
