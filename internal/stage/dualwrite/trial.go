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
			"To see them:\n\n%s", finding.Indent(s.roundTrip(table))))}, nil
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
	var sample string
	if table.EstimatedRows > 5*tryRows && !table.Partitioned {
		sample = fmt.Sprintf(" TABLESAMPLE SYSTEM (%g)", max(100*float64(tryRows)/table.EstimatedRows, 0.0001))
	}
	alias := pg.Quote(s.Table.Name)
	condition := "false"
	if len(s.Reverse) > 0 {
		condition = s.comesBackOther(table)
	}
	// OFFSET 0 and the last condition, which is always true, keep the planner from dropping what is computed only to see whether it fails.
	return fmt.Sprintf("SELECT count(*), count(*) FILTER (WHERE %s)\n  FROM (SELECT %s\n          FROM (SELECT * FROM %s%s LIMIT %d) AS %s OFFSET 0) AS %s\n WHERE num_nulls(%s) >= 0",
		condition, s.forwarded(table), s.Table.SQL(), sample, tryRows, alias, alias, pg.QuoteAll(s.New()))
}

// forwarded renders the columns of a row whose new side is computed from its old one.
func (s *Spec) forwarded(table *pg.Table) string {
	columns := make([]string, 0, len(table.Columns)+len(s.Forward))
	for _, c := range table.Columns {
		if _, computed := s.Forward[c.Name]; !computed {
			columns = append(columns, pg.Quote(c.Name))
		}
	}
	for _, column := range s.New() {
		columns = append(columns, fmt.Sprintf("%s AS %s", expression.Parenthesize(s.Forward[column]), pg.Quote(column)))
	}
	return strings.Join(columns, ", ")
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
func (s *Spec) roundTrip(table *pg.Table) string {
	return fmt.Sprintf("SELECT *\n  FROM (SELECT %s\n          FROM %s) AS %s\n WHERE %s\n LIMIT 10;", s.forwarded(table), s.Table.SQL(), pg.Quote(s.Table.Name),
		s.comesBackOther(table))
}
