package preflight

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Size is how large the table is and how it is kept, over all relations that store its rows.
type Size struct {
	// EstimatedRows is nil when one of the relations was never vacuumed or analyzed.
	EstimatedRows *int64
	DeadRows      int64
	// HeapBytes, IndexBytes and ToastBytes are sizes on disk; those of the last vacuum when Stale.
	HeapBytes, IndexBytes, ToastBytes int64
	Stale                             bool
	// RowBytes is the average width of the values of a row, and RowsPerPage how many rows a page holds; nil without statistics.
	RowBytes, RowsPerPage *float64
	FillFactor            int64
	// FrozenAge is the age in transactions of the oldest transaction number in the table.
	FrozenAge int64
	// Autovacuum means that it is on, for the server and for each relation.
	Autovacuum bool
	// Those of several relations are of the one that has waited longest, and nil when one of them never was.
	LastVacuum, LastAutovacuum, LastAnalyze, LastAutoanalyze *time.Time

	// perPage is how many bytes a page has for rows.
	perPage float64
}

// Column is a column.
type Column struct {
	Name         string
	Type         string
	NotNull      bool
	Default      *string
	Identity     string
	Generated    string
	AverageBytes *int64
	NullFraction *float64
	Indexed      bool
}

func (r *Report) readStatistics(ctx context.Context, tx pgx.Tx, t *target) error {
	s := &r.Size
	var pages int64
	err := tx.QueryRow(ctx, `
		SELECT CASE WHEN min(c.reltuples) >= 0 THEN sum(c.reltuples)::bigint END, coalesce(sum(c.relpages), 0)::bigint,
		       coalesce(sum(s.n_dead_tup), 0)::bigint,
		       coalesce(min((SELECT o.option_value::bigint FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'fillfactor')), 100),
		       coalesce(max(age(c.relfrozenxid)), 0)::bigint,
		       current_setting('autovacuum')::bool AND coalesce(bool_and(coalesce(
		         (SELECT o.option_value::bool FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'autovacuum_enabled'), true)), true),
		       CASE WHEN count(*) = count(s.last_vacuum) THEN min(s.last_vacuum) END,
		       CASE WHEN count(*) = count(s.last_autovacuum) THEN min(s.last_autovacuum) END,
		       CASE WHEN count(*) = count(s.last_analyze) THEN min(s.last_analyze) END,
		       CASE WHEN count(*) = count(s.last_autoanalyze) THEN min(s.last_autoanalyze) END,
		       current_setting('block_size')::float8 - 24
		  FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
		 WHERE c.oid = ANY($1)`, t.leaves).
		Scan(&s.EstimatedRows, &pages, &s.DeadRows, &s.FillFactor, &s.FrozenAge, &s.Autovacuum, &s.LastVacuum, &s.LastAutovacuum,
			&s.LastAnalyze, &s.LastAutoanalyze, &s.perPage)
	if err != nil {
		return err
	}
	if s.EstimatedRows != nil && pages > 0 {
		perPage := float64(*s.EstimatedRows) / float64(pages)
		s.RowsPerPage = &perPage
	}
	return r.unlessLocked(ctx, tx, "Sizes other than those of the last vacuum", func(tx pgx.Tx, locked bool) error {
		s.Stale = locked
		return s.readBytes(ctx, tx, t)
	})
}

func (s *Size) readBytes(ctx context.Context, tx pgx.Tx, t *target) error {
	size := func(oid string) string { return "pg_relation_size(" + oid + ")" }
	if s.Stale {
		size = func(oid string) string {
			return "(SELECT p.relpages * current_setting('block_size')::bigint FROM pg_class p WHERE p.oid = " + oid + ")"
		}
	}
	return tx.QueryRow(ctx, fmt.Sprintf(`
		SELECT coalesce(sum(%s), 0)::bigint,
		       coalesce(sum((SELECT sum(%s) FROM pg_index i WHERE i.indrelid = c.oid)), 0)::bigint,
		       coalesce(sum(CASE WHEN c.reltoastrelid <> 0 THEN %s + (SELECT sum(%s) FROM pg_index i WHERE i.indrelid = c.reltoastrelid) END), 0)::bigint
		  FROM pg_class c WHERE c.oid = ANY($1)`, size("c.oid"), size("i.indexrelid"), size("c.reltoastrelid"), size("i.indexrelid")), t.leaves).
		Scan(&s.HeapBytes, &s.IndexBytes, &s.ToastBytes)
}

// readColumns takes widths from pg_stats, which shows a role the columns that it may read.
func (r *Report) readColumns(ctx context.Context, tx pgx.Tx, t *target) error {
	err := r.unlessLocked(ctx, tx, "Defaults of columns", func(tx pgx.Tx, locked bool) (err error) {
		r.Columns, err = collect[Column](ctx, tx, `
			SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
			       CASE WHEN a.attgenerated = '' THEN `+orNull("pg_get_expr(d.adbin, d.adrelid)", locked)+` END,
			       CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' ELSE '' END,
			       CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' ELSE '' END,
			       s.avg_width::bigint, s.null_frac::float8,
			       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND a.attnum = ANY(i.indkey))
			       OR EXISTS (SELECT FROM pg_depend p JOIN pg_index i ON p.classid = 'pg_class'::regclass AND i.indexrelid = p.objid
			                   WHERE p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum)
			  FROM pg_attribute a
			  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			  LEFT JOIN pg_stats s ON s.schemaname = $2 AND s.tablename = $3 AND s.attname = a.attname AND s.inherited = $4
			 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
			 ORDER BY a.attnum`, t.oid, t.table.Schema, t.table.Name, r.Kind == "partitioned table")
		return err
	})
	if err != nil {
		return err
	}
	var width float64
	known := false
	for _, c := range r.Columns {
		if c.AverageBytes != nil && c.NullFraction != nil {
			known = true
			width += float64(*c.AverageBytes) * (1 - *c.NullFraction)
		}
	}
	if known {
		r.Size.RowBytes = &width
	}
	return r.noteHiddenStatistics(ctx, tx, t)
}

func (r *Report) noteHiddenStatistics(ctx context.Context, tx pgx.Tx, t *target) error {
	var hidden []string
	err := tx.QueryRow(ctx, `
		SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') FROM pg_attribute a
		 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND NOT has_column_privilege(a.attrelid, a.attnum, 'SELECT')`, t.oid).Scan(&hidden)
	switch {
	case err != nil:
		return err
	case r.Role.RowSecurityApplies:
		r.Unseen = append(r.Unseen, fmt.Sprintf("Statistics of columns, because policies apply to the role. To let it see them: ALTER ROLE %s BYPASSRLS;", pg.Quote(t.role)))
	case len(hidden) > 0:
		r.Unseen = append(r.Unseen, fmt.Sprintf("Statistics of %s. To let the role see them: GRANT SELECT (%s) ON %s TO %s;",
			strings.Join(hidden, ", "), pg.QuoteAll(hidden), t.table.SQL(), pg.Quote(t.role)))
	}
	return nil
}
