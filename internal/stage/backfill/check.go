package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/load"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// Check compiles the expressions against the live table and says what the backfill will do to it.
func (s *Spec) Check(ctx context.Context, env *stage.Env) (warnings []*finding.Finding, err error) {
	var f facts
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		if err := env.Ledger.CheckPrivileges(ctx, tx); err != nil {
			return err
		}
		record, err := env.Record(ctx, tx, ledger.BatchedBackfill, s.ID)
		if err != nil {
			return err
		}
		table, err := env.ReadTable(ctx, tx, s.Table, record)
		if err != nil {
			return err
		}
		if err := s.explain(ctx, tx, env, table); err != nil {
			return err
		}
		scope := expression.Scope{Table: table, Planned: env.Planned.Columns(s.Table)}
		reads, err := s.compile(ctx, tx, scope)
		if err != nil {
			return err
		}
		if err := s.overlaps(ctx, tx, env, table); err != nil {
			return err
		}
		if err := s.checkQuiet(ctx, tx, env, table, reads); err != nil {
			return err
		}
		if f, err = s.gather(ctx, tx, env, table, record); err != nil {
			return err
		}
		warnings, err = s.probe(ctx, tx)
		return err
	})
	if err != nil {
		return warnings, err
	}
	// In a transaction of its own: what the sample meets must spoil nothing.
	found, why := s.look(ctx, env, f.table)
	return append([]*finding.Finding{s.forecast(env, f, s.estimate(f.outlook, f.table, found, why))}, warnings...), nil
}

// probe tells which throttle signals the role cannot see, and refuses queries that do not run.
func (s *Spec) probe(ctx context.Context, tx pgx.Tx) ([]*finding.Finding, error) {
	unseen, err := load.Probe(ctx, tx, s.Options.throttle())
	for _, f := range finding.All(err, "") {
		f.At("throttle")
	}
	return unseen, err
}

// explain finds out which rows a sync has filled already, NULLs included.
func (s *Spec) explain(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table) (err error) {
	if !s.Overwrite {
		s.Explained, err = dualwrite.Explained(ctx, tx, env, table, s.Targets())
	}
	return err
}

// compile checks everything that the server can say about the backfill without running it, and returns the columns it
// reads. All errors are collected, so that one plan shows them all.
func (s *Spec) compile(ctx context.Context, tx pgx.Tx, scope expression.Scope) (reads []string, err error) {
	var problems []error
	note := func(err error, attribute ...string) bool {
		if err == nil {
			return false
		}
		var f *finding.Finding
		if errors.As(err, &f) && len(f.Attribute) == 0 {
			f.At(attribute...)
		}
		problems = append(problems, err)
		return true
	}
	for _, target := range s.Targets() {
		if note(expression.Writable(scope, target), "set", target) {
			continue
		}
		assignment := expression.Assignment{Column: target, SQL: s.Set[target], Compares: s.Overwrite}
		value, err := expression.Assign(ctx, tx, scope, assignment)
		if note(err, "set", target) {
			continue
		}
		reads = append(reads, value.Reads...)
		if s.Overwrite {
			note(s.checkRepeatable(ctx, tx, scope, target, value), "set", target)
		}
	}
	if s.Where != "" {
		value, err := expression.Condition(ctx, tx, scope, "Condition where of the backfill of "+s.Table.String(), s.Where)
		if !note(err, "where") {
			reads = append(reads, value.Reads...)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if err := expression.Predicate(ctx, tx, scope, "Condition for rows that need work in "+s.Table.String(), s.needsWork()); err != nil {
		return nil, err
	}
	slices.Sort(reads)
	reads = slices.Compact(reads)
	return reads, s.checkPrivileges(ctx, tx, scope.Table, reads)
}

// checkRepeatable refuses expressions that would find every row different each time they look at it.
func (s *Spec) checkRepeatable(ctx context.Context, tx pgx.Tx, scope expression.Scope, target string, value *expression.Value) error {
	what := "Expression for column " + s.Table.Column(target)
	for _, read := range value.Reads {
		if _, written := s.Set[read]; written {
			return finding.New(fmt.Sprintf("%s reads column %s, which the backfill overwrites", what, pg.Quote(read)),
				"A row that is visited twice would be changed twice. Compute into a new column instead, and swap later.")
		}
	}
	volatile, err := expression.IsVolatile(ctx, tx, scope, s.Set[target])
	if err != nil {
		return err
	}
	if volatile {
		return finding.New(what+" is volatile",
			"With overwrite = true a row is done when it equals the expression, and this one gives another value each time, so the "+
				"backfill would never end. Leave overwrite out: then each NULL is filled once.")
	}
	return nil
}

func (s *Spec) checkPrivileges(ctx context.Context, tx pgx.Tx, table *pg.Table, reads []string) error {
	targets := s.Targets()
	if err := pg.RequireColumns(ctx, tx, table, "SELECT", append(slices.Clone(reads), targets...)); err != nil {
		return err
	}
	if err := pg.RequireColumns(ctx, tx, table, "UPDATE", targets); err != nil {
		return err
	}
	return pg.RequireAllRows(ctx, tx, table)
}

// overlaps refuses a second backfill of the same column of the same rows: each would undo the other's work, or call
// itself complete because of it.
func (s *Spec) overlaps(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table) error {
	records, err := env.RecordsOf(ctx, tx, table)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Kind != ledger.BatchedBackfill || r.Key == s.ID || r.Status == ledger.Forgotten || r.Retired() {
			continue
		}
		other, err := stage.Decode[Spec](r.Spec)
		if err != nil {
			return err
		}
		for _, target := range s.Targets() {
			if _, both := other.Set[target]; both && (s.Where == "" || other.Where == "") {
				return finding.New(fmt.Sprintf("Column %s is filled by two backfills", s.Table.Column(target)),
					fmt.Sprintf("The ledger has the backfill %s, which sets it as well. Set the column in one of them, or narrow both with where "+
						"so that no row belongs to both.", r.Key)).At("set", target)
			}
		}
	}
	return nil
}

// describe names the columns for people: public.users (first_name, last_name).
func (s *Spec) describe() string {
	return fmt.Sprintf("%s (%s)", s.Table, strings.Join(s.Targets(), ", "))
}
