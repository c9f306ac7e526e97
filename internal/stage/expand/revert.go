package expand

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// CheckRevert says that the undo drops columns.
func (s *Spec) CheckRevert(ctx context.Context, env *stage.Env) (f *finding.Finding, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.ColumnExpand, s.ID)
		if err != nil {
			return err
		}
		if record != nil && record.Retired() {
			f = finding.New(fmt.Sprintf("Destroying the expand of %s only forgets it", s.describe(s.Names())),
				"A contract has taken its columns over; the table stays as it is.")
			return nil
		}
		guard := "It refuses if they hold values that are nowhere else, unless force_destroy is set."
		if s.ForceDestroy {
			guard = "force_destroy is set, so it drops them even if they hold the only copy of data."
		}
		var drops []string
		for _, name := range s.Names() {
			drops = append(drops, s.drop(name)+";")
		}
		f = finding.New(fmt.Sprintf("Destroying the expand drops columns of %s", s.describe(s.Names())),
			guard+"\n\n"+finding.Indent(strings.Join(drops, "\n"))+"\n\nIndexes and constraints on the columns go with them. It takes an ACCESS EXCLUSIVE lock for a moment and changes metadata "+
				"only.\n\nTo keep the columns and only forget the resource, use a removed block with destroy = false.")
		return nil
	})
	return f, err
}

// Revert drops the columns that the expand has added.
func (s *Spec) Revert(ctx context.Context, env *stage.Env) ([]*finding.Finding, error) {
	var table *pg.Table
	var record *ledger.Stage
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		if record, err = env.Record(ctx, tx, ledger.ColumnExpand, s.ID); err != nil {
			return err
		}
		table, err = env.ReadTable(ctx, tx, s.Table, record)
		return err
	})
	gone := errors.Is(err, pg.ErrNoTable)
	if err != nil && !gone {
		return nil, err
	}
	if gone || (record != nil && record.Retired()) {
		return nil, s.forget(ctx, env, record)
	}
	if err := s.guard(ctx, env, func(string) bool { return true }); err != nil {
		return nil, err
	}
	return nil, env.Runner.Run(ctx, ddl.Change{
		Title: "Dropping columns of " + s.describe(s.Names()), Table: table, Lock: ddl.AccessExclusive,
		Work: func(ctx context.Context, tx pgx.Tx) error { return s.dropAll(ctx, tx, env) },
	})
}

func (s *Spec) dropAll(ctx context.Context, tx pgx.Tx, env *stage.Env) error {
	record, err := env.Record(ctx, tx, ledger.ColumnExpand, s.ID)
	if err != nil {
		return err
	}
	table, err := pg.ReadTable(ctx, tx, s.Table)
	if err != nil {
		return err
	}
	owned, err := s.owned(table, record)
	if err != nil {
		return err
	}
	records, err := env.RecordsOf(ctx, tx, table)
	if err != nil {
		return err
	}
	going := slices.DeleteFunc(slices.Clone(table.Columns), func(c pg.Column) bool { _, ours := owned[c.Name]; return !ours })
	if err := s.guardSyncs(ctx, tx, env, table, records, going); err != nil {
		return err
	}
	for _, name := range stage.SortedKeys(owned) {
		if err := s.exec(ctx, tx, s.drop(name)); err != nil {
			return err
		}
	}
	if record == nil {
		return nil
	}
	return env.Ledger.Delete(ctx, tx, record.ID)
}

func (s *Spec) forget(ctx context.Context, env *stage.Env, record *ledger.Stage) error {
	if record == nil {
		return nil
	}
	return env.DB.Tx(ctx, pgx.TxOptions{}, nil, func(tx pgx.Tx) error { return env.Ledger.Delete(ctx, tx, record.ID) })
}

// guard refuses to drop columns that a sync keeps, or that hold the only copy of data.
func (s *Spec) guard(ctx context.Context, env *stage.Env, goes func(name string) bool) error {
	var table *pg.Table
	var records []*ledger.Stage
	var going []pg.Column
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		record, err := env.Record(ctx, tx, ledger.ColumnExpand, s.ID)
		if err != nil {
			return err
		}
		if table, err = pg.ReadTable(ctx, tx, s.Table); err != nil {
			return err
		}
		owned, err := s.owned(table, record)
		if err != nil {
			return err
		}
		for _, c := range table.Columns {
			if _, ours := owned[c.Name]; ours && goes(c.Name) {
				going = append(going, c)
			}
		}
		if records, err = env.RecordsOf(ctx, tx, table); err != nil {
			return err
		}
		return s.guardSyncs(ctx, tx, env, table, records, going)
	})
	if err != nil || s.ForceDestroy {
		return err
	}
	for _, c := range going {
		source, err := s.sourceOf(records, c)
		if err != nil {
			return err
		}
		if err := s.guardColumn(ctx, env, table, c, source); err != nil {
			return err
		}
	}
	return nil
}

// sourceOf returns the expression from which a backfill filled the column, or "". It refuses when a contract has taken
// away what the expression reads.
func (s *Spec) sourceOf(records []*ledger.Stage, c pg.Column) (source string, err error) {
	for _, filled := range records {
		if filled.Kind != ledger.BatchedBackfill || !slices.Contains(filled.Writes, c.Attnum) {
			continue
		}
		for _, contract := range records {
			if contract.Kind == ledger.ColumnContract && overlap(contract.Writes, filled.Reads) {
				return "", finding.New(fmt.Sprintf("Column %s holds the only copy of data", s.Table.Column(c.Name)),
					fmt.Sprintf("It was filled from a column that the contract %s has taken away. Destroy that contract first, which brings the "+
						"old column back; then destroy the expand.", contract.Key))
			}
		}
		spec, err := stage.Decode[backfill.Spec](filled.Spec)
		if err != nil {
			return "", err
		}
		source = spec.Set[c.Name]
	}
	return source, nil
}

func overlap(a, b []int16) bool {
	return slices.ContainsFunc(a, func(n int16) bool { return slices.Contains(b, n) })
}

// guardColumn looks for a value that neither the column's default nor the backfill's source gives.
func (s *Spec) guardColumn(ctx context.Context, env *stage.Env, table *pg.Table, c pg.Column, source string) error {
	quoted := pg.Quote(c.Name)
	condition := quoted + " IS NOT NULL"
	for _, value := range []string{c.Default, source} {
		if value != "" {
			condition += fmt.Sprintf(" AND %s::text IS DISTINCT FROM (%s::%s)::text", quoted, expression.Parenthesize(value), c.Type.SQL)
		}
	}
	from := fmt.Sprintf("%s AS %s WHERE %s", s.Table.SQL(), pg.Quote(table.Name.Name), condition)
	var only bool
	settings := []pg.Setting{{Name: "row_security", Value: "off"}, {Name: "statement_timeout", Value: "0"}}
	err := env.DB.Tx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, settings, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+from+")").Scan(&only)
	})
	if err != nil {
		return fmt.Errorf("look for data that is only in %s: %w", s.Table.Column(c.Name), err)
	}
	if !only {
		return nil
	}
	why := "No backfill is known to have filled it, so its values are nowhere else."
	if source != "" {
		why = fmt.Sprintf("It has values that are not what the backfill computed, (%s): some service wrote them.", source)
	}
	return finding.New(fmt.Sprintf("Column %s holds the only copy of data", s.Table.Column(c.Name)),
		finding.Paragraphs(why+" Such a row is found by:", finding.Indent("SELECT * FROM "+from+" LIMIT 1;"),
			"Save the values elsewhere first. To drop them, set this and apply, then destroy:\n\n  force_destroy = true"))
}
