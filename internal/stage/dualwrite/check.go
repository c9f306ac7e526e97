package dualwrite

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
)

// Check compiles the expressions against the live table, tries them on some of its rows, and tells what else there is
// that the trigger has to live with.
func (s *Spec) Check(ctx context.Context, env *stage.Env) (warnings []*finding.Finding, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		if err := env.Ledger.CheckPrivileges(ctx, tx); err != nil {
			return err
		}
		planned := env.Planned.Columns(s.Table)
		found, err := s.inspect(ctx, tx, env, planned)
		if err != nil {
			return err
		}
		env.Planned.Sync(s.Table, slices.Concat(s.New(), s.Old(), found.reads)...)
		lines := []string{
			fmt.Sprintf("From then on the trigger %s runs for every row that is inserted or updated. It keeps both sides equal, "+
				"whichever of them a service writes. Rows that are there already stay as they are until somebody writes them.", pg.Quote(s.trigger())),
			"It notes who writes one side only, by application, role and address, at most once a minute for each session; no writer waits for that.",
		}
		if len(s.Reverse) == 0 {
			lines = append(lines, "There is no reverse: rows that services write new style have no value on the old side, and a contract that drops "+
				"it keeps an archive of all its values.")
		}
		f, err := ddl.Forecast(ctx, tx, found.table, ddl.ShareRowExclusive, "Sync of "+s.describe(), lines...)
		if err != nil {
			return err
		}
		warnings = append(warnings, f)
		more, err := s.hazards(ctx, tx, found)
		warnings = append(warnings, more...)
		return err
	})
	if err != nil {
		return nil, err
	}
	tried, err := s.try(ctx, env)
	return append(warnings, tried...), err
}

// inspection is what there is of a sync's table.
type inspection struct {
	record *ledger.Stage
	table  *pg.Table
	// reads are the columns that forward reads, and reverseReads those of reverse.
	reads, reverseReads []string
}

// inspect reads the table, compiles the expressions and refuses what cannot work.
func (s *Spec) inspect(ctx context.Context, tx pgx.Tx, env *stage.Env, planned map[string]string) (*inspection, error) {
	found := &inspection{}
	var err error
	if found.record, err = env.Record(ctx, tx, ledger.ColumnSync, s.ID); err != nil {
		return nil, err
	}
	if found.record != nil && found.record.Retired() {
		return nil, finding.New(fmt.Sprintf("Sync of %s is retired", s.describe()),
			"A contract has taken its old columns away, so there is nothing to keep equal. Undo the change of this resource, or destroy the "+
				"contract first. If Terraform's state was lost, import the sync:\n\n"+
				fmt.Sprintf("  terraform import postgres_column_sync.NAME %s", pg.Literal(s.ID)))
	}
	if found.table, err = env.ReadTable(ctx, tx, s.Table, found.record); err != nil {
		return nil, err
	}
	if err := s.checkTable(found.table); err != nil {
		return nil, err
	}
	if err := pg.RequireOwner(ctx, tx, found.table); err != nil {
		return nil, err
	}
	if err := env.Ledger.CheckCreate(ctx, tx); err != nil {
		return nil, err
	}
	scope := expression.Scope{Table: found.table, Planned: planned}
	err = expression.InSafePath(ctx, tx, scope, func(scope expression.Scope) error { return s.compile(ctx, tx, scope, found) })
	if err != nil {
		return nil, err
	}
	return found, s.overlaps(ctx, tx, env, found)
}

func (s *Spec) checkTable(table *pg.Table) error {
	switch {
	case table.PartitionOf != "":
		return finding.New(fmt.Sprintf("Table %s is a partition of %s", s.Table, table.PartitionOf),
			"A row may move to another partition, where this trigger would be missing. Name the partitioned table: its trigger covers all "+
				"partitions, also those that are attached later.").At("table")
	case !table.Partitioned && len(table.Tree) > 1:
		return finding.New(fmt.Sprintf("Table %s has inheritance children", s.Table),
			"Triggers are not inherited, so rows that services write to the children would not be kept equal.").At("table")
	}
	return nil
}

// compile checks the expressions. All errors are collected, so that one plan shows them all.
func (s *Spec) compile(ctx context.Context, tx pgx.Tx, scope expression.Scope, found *inspection) error {
	var problems []error
	sides := []struct {
		attribute   string
		expressions map[string]string
		reads       *[]string
	}{{"forward", s.Forward, &found.reads}, {"reverse", s.Reverse, &found.reverseReads}}
	for _, side := range sides {
		for _, column := range stage.SortedKeys(side.expressions) {
			reads, err := s.compileColumn(ctx, tx, scope, column, side.expressions)
			var f *finding.Finding
			if errors.As(err, &f) && len(f.Attribute) == 0 {
				f.At(side.attribute, column)
			}
			if err != nil {
				problems = append(problems, err)
			}
			*side.reads = append(*side.reads, reads...)
		}
		slices.Sort(*side.reads)
		*side.reads = slices.Compact(*side.reads)
	}
	for _, column := range s.Old() {
		if _, both := s.Forward[column]; both {
			problems = append(problems, finding.New(fmt.Sprintf("Column %s is on both sides of the sync", s.Table.Column(column)),
				"A column is either old, and then a key of reverse, or new, and then a key of forward.").At("reverse", column))
			continue
		}
		if len(problems) == 0 && !slices.Contains(found.reads, column) {
			problems = append(problems, finding.New(fmt.Sprintf("Column %s is not on the old side", s.Table.Column(column)),
				"No expression of forward reads it, so that nothing would follow from it. The keys of reverse are the columns that forward "+
					"replaces.").At("reverse", column))
		}
	}
	return errors.Join(problems...)
}

func (s *Spec) compileColumn(ctx context.Context, tx pgx.Tx, scope expression.Scope, column string, side map[string]string) ([]string, error) {
	if err := expression.Writable(scope, column); err != nil {
		return nil, err
	}
	value, err := expression.Assign(ctx, tx, scope, expression.Assignment{Column: column, SQL: side[column]})
	if err != nil {
		return nil, explainPath(err)
	}
	what := "Expression for column " + s.Table.Column(column)
	for _, read := range value.Reads {
		if _, written := side[read]; written {
			return nil, finding.New(fmt.Sprintf("%s reads column %s of its own side", what, pg.Quote(read)),
				"It is evaluated when that side is missing or out of date. It can read the other side and any further column.")
		}
		if c, exists := scope.Table.Column(read); exists && c.Generated {
			return nil, finding.New(fmt.Sprintf("%s reads the generated column %s", what, pg.Quote(read)),
				"The server computes generated columns after the trigger, which would find NULL in it. Use the expression that the column is "+
					"generated from.")
		}
	}
	volatile, err := expression.IsVolatile(ctx, tx, scope, side[column])
	if err != nil {
		return nil, err
	}
	if volatile {
		return nil, finding.New(what+" is volatile",
			"It gives another value each time, so that the two sides never agree. A value that does not depend on the row, such as "+
				"gen_random_uuid(), is what a column's default is for.")
	}
	return value.Reads, nil
}

// explainPath adds to an error about an unknown name where names are looked up.
func explainPath(err error) error {
	var f *finding.Finding
	if errors.As(err, &f) && slices.Contains([]string{"42883", "42704", "42P01", "3F000"}, pg.SQLState(err)) {
		f.Detail = finding.Paragraphs(f.Detail, "The trigger runs in the sessions of all services, whatever their search_path. So names are looked up "+
			"in pg_catalog only, and what is elsewhere needs its schema:\n\n  app.normalize(full_name), full_name::public.citext")
	}
	return err
}

// overlaps refuses a second sync that writes what this one reads or writes: each trigger fires once for a row, so that what
// the second changes would never reach the first.
func (s *Spec) overlaps(ctx context.Context, tx pgx.Tx, env *stage.Env, found *inspection) error {
	records, err := env.RecordsOf(ctx, tx, found.table)
	if err != nil {
		return err
	}
	writes := append(s.New(), s.Old()...)
	touches := slices.Concat(writes, found.reads, found.reverseReads)
	for _, record := range records {
		if record.Kind != ledger.ColumnSync || record.Key == s.ID || record.Status == ledger.Forgotten || record.Retired() {
			continue
		}
		other, err := stage.Decode[Spec](record.Spec)
		if err != nil {
			return err
		}
		otherWrites := append(other.New(), other.Old()...)
		otherTouches := slices.Clone(otherWrites)
		for _, number := range record.Reads {
			if c, exists := found.table.ColumnByNumber(number); exists {
				otherTouches = append(otherTouches, c.Name)
			}
		}
		for _, column := range slices.Concat(writes, otherWrites) {
			if slices.Contains(touches, column) && slices.Contains(otherTouches, column) {
				return finding.New(fmt.Sprintf("Column %s is part of two syncs", s.Table.Column(column)),
					fmt.Sprintf("The sync %s uses it too. Each trigger runs once for a row, so that what one of them writes would not reach the "+
						"other in every case. Put both into one resource.", record.Key))
			}
		}
	}
	return nil
}

// numbers returns the numbers of the columns that exist.
func numbers(table *pg.Table, names ...string) (numbers []int16) {
	for _, name := range names {
		if c, exists := table.Column(name); exists && !slices.Contains(numbers, c.Attnum) {
			numbers = append(numbers, c.Attnum)
		}
	}
	return numbers
}

func list(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = pg.Quote(n)
	}
	return strings.Join(quoted, " and ")
}
