package dualwrite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// hazards tells what on the table can keep the trigger from doing its work.
func (s *Spec) hazards(ctx context.Context, tx pgx.Tx, found *inspection) (hazards []*finding.Finding, err error) {
	for _, side := range []struct{ which, columns []string }{{[]string{"new", "old"}, s.New()}, {[]string{"old", "new"}, s.Old()}} {
		for _, name := range side.columns {
			if c, exists := found.table.Column(name); exists && c.Default != "" {
				hazards = append(hazards, finding.New(fmt.Sprintf("Column %s has a default", s.Table.Column(name)),
					fmt.Sprintf("A service that inserts a row without the %[1]s side seems to give it, because the server fills in %[2]s first. Such a "+
						"row keeps the default on its %[1]s side, whatever is on the %[3]s side.\n\nDrop the default while the sync is there, unless "+
						"every service writes both sides:\n\n  ALTER TABLE %[4]s ALTER COLUMN %[5]s DROP DEFAULT;",
						side.which[0], c.Default, side.which[1], s.Table.SQL(), pg.Quote(name))))
			}
		}
	}
	later, err := s.laterTriggers(ctx, tx, found.table)
	if err != nil {
		return nil, err
	}
	if len(later) > 0 {
		hazards = append(hazards, finding.New(fmt.Sprintf("Triggers of %s run after that of the sync of %s", s.Table, strings.Join(s.New(), ", ")),
			fmt.Sprintf("Triggers run in the byte order of their names. What these change on either side, the trigger %s does not see:\n%s\n\nIf one "+
				"of them does, rename it:\n\n  ALTER TRIGGER ... ON %s RENAME TO ...;", pg.Quote(s.trigger()), finding.List(later), s.Table.SQL())))
	}
	if inputs := s.inputs(found.reads); len(inputs) > 0 {
		hazards = append(hazards, finding.New(fmt.Sprintf("Sync of %s also reads %s", s.describe(), list(inputs)),
			"reverse does not set it, so it counts as neither side: a row in which nothing else changes is not computed anew."))
	}
	return hazards, nil
}

// inputs returns what forward reads besides the old side.
func (s *Spec) inputs(reads []string) (inputs []string) {
	for _, read := range reads {
		if _, old := s.Reverse[read]; !old && len(s.Reverse) > 0 {
			inputs = append(inputs, read)
		}
	}
	return inputs
}

// laterTriggers lists the triggers before insert or update of rows that fire after ours.
func (s *Spec) laterTriggers(ctx context.Context, tx pgx.Tx, table *pg.Table) ([]string, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT quote_ident(t.tgname) || ', which calls ' || t.tgfoid::regprocedure::text
		  FROM pg_trigger t
		 WHERE t.tgrelid = ANY($1) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
		   AND t.tgtype & 1 = 1 AND t.tgtype & 2 = 2 AND t.tgtype & (4 | 16) <> 0
		   AND t.tgname COLLATE "C" > $2 COLLATE "C" AND NOT starts_with(t.tgname, 'zzz_sync_')
		 ORDER BY 1`, table.Tree, s.trigger())
	if err != nil {
		return nil, fmt.Errorf("list the triggers of %s: %w", s.Table, err)
	}
	later, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the triggers of %s: %w", s.Table, err)
	}
	return later, nil
}

// Bounds of a trial of the expressions at plan time.
const (
	tryRows = 10_000
	tryTime = 3 * time.Second
)

// try runs the expressions on some rows. It refuses those that fail, because a service that writes such a row would
// fail with them, and warns when a value does not come back the same. It shows no values: plans are read by many.
func (s *Spec) try(ctx context.Context, env *stage.Env) ([]*finding.Finding, error) {
	var sampled, differ int64
	var table *pg.Table
	settings := []pg.Setting{
		{Name: "row_security", Value: "off"}, pg.Timeout("lock_timeout", time.Second), pg.Timeout("statement_timeout", tryTime),
	}
	err := env.DB.Tx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, settings, func(tx pgx.Tx) (err error) {
		if table, err = pg.ReadTable(ctx, tx, s.Table); err != nil {
			return err
		}
		if table.RowSecurity {
			return nil // A sample of some rows says nothing of the others.
		}
		scope := expression.Scope{Table: table, Planned: env.Planned.Columns(s.Table)}
		return expression.InSafePath(ctx, tx, scope, func(expression.Scope) error {
			return tx.QueryRow(ctx, s.trial(table)).Scan(&sampled, &differ)
		})
	})
	switch {
	case pg.IsRowError(err):
		return nil, s.failsOnRow(err)
	case pg.IsStatementTimeout(ctx, err), pg.IsContention(err), err == nil && table.RowSecurity:
		return []*finding.Finding{finding.New(fmt.Sprintf("Expressions of the sync of %s were not tried", s.describe()),
			fmt.Sprintf("A trial on rows of the table was not possible within %s. Whether every value comes back the same from forward and reverse is "+
				"not known.", tryTime))}, nil
	case err != nil:
		return nil, err
	case differ == 0:
		return nil, nil
	}
	return []*finding.Finding{finding.New(
		fmt.Sprintf("Sync of %s loses something: %s of %s rows do not come back the same", s.describe(), humanize.Comma(differ), humanize.Comma(sampled)),
		fmt.Sprintf("reverse(forward(x)) is not x for these rows. They keep both sides as they are written, and a contract that drops the old side "+
			"keeps their values in its archive. But when a service changes the new side of such a row, the old side becomes what reverse gives.\n\n"+
			"To see them:\n\n%s", finding.Indent(s.roundTrip(table, "*")+"\n LIMIT 10;")))}, nil
}

func (s *Spec) failsOnRow(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err
	}
	return finding.New(fmt.Sprintf("Sync of %s fails on a row of the table", s.describe()),
		finding.Paragraphs("The server says: "+e.Message+".", "A service that writes such a row would get this error from the trigger. Let the expression give "+
			"some value, or NULL, for every row.", "SQLSTATE "+e.Code)).At("forward").Because(err)
}

// trial renders the query that counts, of some rows, those whose old side is another after forward and reverse.
func (s *Spec) trial(table *pg.Table) string {
	columns := make([]string, 0, len(s.Forward)+len(s.Reverse))
	for _, c := range table.Columns {
		if _, computed := s.Forward[c.Name]; !computed {
			columns = append(columns, pg.Quote(c.Name))
		}
	}
	alias := pg.Quote(s.Table.Name)
	var sample string
	if table.EstimatedRows > 5*tryRows && !table.Partitioned {
		sample = fmt.Sprintf(" TABLESAMPLE SYSTEM (%g)", max(100*float64(tryRows)/table.EstimatedRows, 0.0001))
	}
	rows := fmt.Sprintf("(SELECT * FROM %s%s LIMIT %d) AS %s", s.Table.SQL(), sample, tryRows, alias)
	computed := make([]string, 0, len(s.Forward))
	for _, column := range s.New() {
		computed = append(computed, fmt.Sprintf("%s AS %s", expression.Parenthesize(s.Forward[column]), pg.Quote(column)))
	}
	condition := "false"
	if len(s.Reverse) > 0 {
		condition = s.comesBackOther(table)
	}
	// OFFSET 0 keeps the planner from dropping what is computed only to see whether it fails.
	return fmt.Sprintf("SELECT count(*), count(*) FILTER (WHERE %s)\n  FROM (SELECT %s\n          FROM %s OFFSET 0) AS %s WHERE %s",
		condition, strings.Join(append(columns, computed...), ", "), rows, alias, "num_nulls("+pg.QuoteAll(s.New())+") >= 0")
}

// comesBackOther is the condition under which reverse gives another value than the stored one, in a row whose new side was
// computed from it. A row with nothing on its old side has nothing to lose.
func (s *Spec) comesBackOther(table *pg.Table) string {
	var conditions []string
	for _, column := range s.Old() {
		c, _ := table.Column(column)
		conditions = append(conditions, fmt.Sprintf("ROW(%s)::record *<> ROW(%s::%s)::record", pg.Quote(column),
			expression.Parenthesize(s.Reverse[column]), c.Type.SQL))
	}
	given := make([]string, 0, len(s.Reverse))
	for _, column := range s.Old() {
		given = append(given, pg.Quote(column)+" IS NULL")
	}
	return fmt.Sprintf("NOT (%s) AND (%s)", strings.Join(given, " AND "), strings.Join(conditions, " OR "))
}

// roundTrip renders the query for people that finds such rows.
func (s *Spec) roundTrip(table *pg.Table, outputs string) string {
	columns := make([]string, 0, len(table.Columns))
	for _, c := range table.Columns {
		if _, computed := s.Forward[c.Name]; !computed {
			columns = append(columns, pg.Quote(c.Name))
		}
	}
	for _, column := range s.New() {
		columns = append(columns, fmt.Sprintf("%s AS %s", expression.Parenthesize(s.Forward[column]), pg.Quote(column)))
	}
	return fmt.Sprintf("SELECT %s\n  FROM (SELECT %s\n          FROM %s) AS %s\n WHERE %s", outputs, strings.Join(columns, ", "), s.Table.SQL(),
		pg.Quote(s.Table.Name), s.comesBackOther(table))
}
