package backfill

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Bounds of the sample that a plan takes. It reads like any query and must not be felt.
const (
	samplePages  = 400
	sampleWindow = 16
	// sampleTime bounds the whole sample, and sampleTimeout each of its statements, so that no more than both is spent.
	sampleTime    = 200 * time.Millisecond
	sampleTimeout = 100 * time.Millisecond
	// timedLooks is how many times the first pages are looked at again to time the expressions.
	timedLooks = 3
)

// sample is what some pages of a table tell of all.
type sample struct {
	pages, rows, needing int64
	// bytes are those of the sampled rows, and added what the new values add to those that need work.
	bytes, added float64
	// perRow is the server's time for a row that is in memory, when it is known.
	perRow time.Duration
	// whole means that these are all pages; atMost that the expressions could not be tried, so that fewer rows may need work.
	whole, atMost bool
}

// look reads pages that are spread evenly over the leaves, under ACCESS SHARE and without writing anything. It returns a
// reason in words instead when it cannot be had; a plan does without it.
func (s *Spec) look(ctx context.Context, env *stage.Env, table *pg.Table) (found sample, why string) {
	total := table.Pages()
	if total == 0 {
		return sample{whole: true}, ""
	}
	settings := []pg.Setting{
		pg.Timeout("lock_timeout", sampleTimeout/2), pg.Timeout("statement_timeout", sampleTimeout),
		{Name: "row_security", Value: "off"},
		{Name: "jit", Value: "off"},
		{Name: "max_parallel_workers_per_gather", Value: "0"},
	}
	err := env.DB.Tx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, settings, func(tx pgx.Tx) error {
		return s.lookIn(ctx, tx, expression.Scope{Table: table, Planned: env.Planned.Columns(s.Table)}, &found)
	})
	var e *pgconn.PgError
	switch {
	case err == nil:
	case pg.IsStatementTimeout(ctx, err):
		if found.pages == 0 {
			return found, "a sample of its rows takes too long"
		}
	case pg.IsContention(err):
		return found, "somebody holds a lock that keeps its rows from being read"
	case pg.SQLState(err) == "42P01", pg.SQLState(err) == "XX000":
		return found, "a part of the table went away meanwhile"
	case errors.As(err, &e):
		return found, "a sample of its rows failed: " + e.Message
	default:
		return found, "a sample of its rows failed"
	}
	found.whole = found.pages >= total
	return found, ""
}

func (s *Spec) lookIn(ctx context.Context, tx pgx.Tx, scope expression.Scope, found *sample) error {
	// A volatile expression may do anything when it is evaluated.
	volatile, err := expression.IsVolatile(ctx, tx, scope, s.needsWork())
	if err != nil {
		return err
	}
	found.atMost = volatile
	width, err := widthOf(ctx, tx, scope.Table)
	if err != nil {
		return err
	}
	began, total := time.Now(), scope.Table.Pages()
	windows := (min(total, samplePages) + sampleWindow - 1) / sampleWindow
	size := int64(1) // The other looks are as large as the first one allows.
	for i := range windows {
		// In steps that visit every window once, but no neighbours in turn: what was read when time is up is spread as well.
		window := i * stride(windows) % windows
		first, end := window*total/windows, (window+1)*total/windows
		for end = min(end, first+sampleWindow); first < end; {
			leaf, page := leafAt(scope.Table, first)
			pages := min(size, end-first, leaf.Pages-page)
			took, err := s.lookAt(ctx, tx, scope, leaf, page, page+pages, width, volatile, found)
			if err != nil {
				return err
			}
			if time.Since(began) > sampleTime {
				return nil
			}
			first += pages
			if i == 0 && found.pages == 1 && took*sampleWindow <= sampleTimeout/2 {
				size = sampleWindow
			}
			if size == 1 { // Slow rows: a page of each window has to do.
				break
			}
		}
	}
	return nil
}

// stride is about the golden section of n and has no divisor in common with it.
func stride(n int64) int64 {
	for step := n * 5 / 8; step > 1; step-- {
		a, b := n, step
		for b != 0 {
			a, b = b, a%b
		}
		if a == 1 {
			return step
		}
	}
	return 1
}

// leafAt returns the leaf that has the page when all pages of the table are counted through, and its number there.
func leafAt(table *pg.Table, page int64) (pg.Leaf, int64) {
	for _, leaf := range table.Leaves {
		if page < leaf.Pages {
			return leaf, page
		}
		page -= leaf.Pages
	}
	last := table.Leaves[len(table.Leaves)-1]
	return last, max(last.Pages-1, 0)
}

// lookAt adds a look at pages of a leaf to what was found, and returns the server's time for it.
func (s *Spec) lookAt(ctx context.Context, tx pgx.Tx, scope expression.Scope, leaf pg.Leaf, first, end int64, width string, volatile bool, found *sample) (time.Duration, error) {
	sql := s.sampleQuery(scope, leaf.Name, width, volatile)
	var rows, needing int64
	var bytes, added, seconds float64
	look := func() (time.Duration, error) {
		err := tx.QueryRow(ctx, sql, tid(first), tid(end)).Scan(&rows, &needing, &bytes, &added, &seconds)
		return pg.Seconds(seconds).Duration(), err
	}
	took, err := look()
	if err != nil {
		return 0, err
	}
	found.pages += end - first
	found.rows += rows
	found.needing += needing
	found.bytes += bytes
	found.added += added
	// Rows are timed once they are in memory, where the walk meets most of them; the fastest of some looks is that which
	// nothing else disturbed.
	for range timedLooks {
		if found.pages > 1+sampleWindow || rows == 0 || took > sampleTimeout/8 && end-first > 1 {
			break
		}
		again, err := look()
		if err != nil {
			return 0, err
		}
		if perRow := again / time.Duration(rows); found.perRow == 0 || perRow < found.perRow {
			found.perRow = perRow
		}
	}
	return took, nil
}

// sampleQuery renders the look at the pages $1 up to, but not including, $2 of a leaf.
func (s *Spec) sampleQuery(scope expression.Scope, leaf pg.TableName, width string, volatile bool) string {
	var planned, empty, added []string
	for _, name := range stage.SortedKeys(scope.Planned) {
		if _, exists := scope.Table.Column(name); !exists {
			planned = append(planned, fmt.Sprintf(", NULL::%s AS %s", scope.Planned[name], pg.Quote(name)))
		}
	}
	for _, target := range s.Targets() {
		column := pg.Quote(target)
		empty = append(empty, column+" IS NULL")
		if !volatile {
			added = append(added, fmt.Sprintf("coalesce(pg_catalog.pg_column_size(%s), 0) - coalesce(pg_catalog.pg_column_size(%s), 0)",
				expression.Parenthesize(s.Set[target]), column))
		}
	}
	needing, more := s.needsWork(), strings.Join(added, " + ")
	if volatile {
		needing, more = strings.Join(empty, " OR "), fmt.Sprint(len(empty)*unknownWidth)
	}
	alias, where := pg.Quote(s.Table.Name), "WHERE %sctid >= $1::tid AND %sctid < $2::tid"
	from := fmt.Sprintf("ONLY %s AS %s "+where, leaf.SQL(), alias, alias+".", alias+".")
	if len(planned) > 0 {
		from = fmt.Sprintf("(SELECT *%s FROM ONLY %s "+where+") AS %s", strings.Join(planned, ""), leaf.SQL(), "", "", alias)
	}
	return fmt.Sprintf("SELECT count(*), count(*) FILTER (WHERE %[1]s),\n       coalesce(sum(%[2]s), 0)::float8,\n"+
		"       coalesce(sum(%[3]s) FILTER (WHERE %[1]s), 0)::float8,\n"+
		"       extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.statement_timestamp())::float8\n  FROM %[4]s", needing, width, more, from)
}

// Sizes in a heap page, in bytes (https://www.postgresql.org/docs/current/storage-page-layout.html).
const (
	pageBytes  = 8192
	pageHeader = 24
	linePtr    = 4
	// tupleHeader is with its alignment.
	tupleHeader = 24
	// unknownWidth is that of a value of which nothing is known.
	unknownWidth = 16
)

// widthOf renders the size of a row in its page, as far as the role may look. A long value is stored elsewhere.
func widthOf(ctx context.Context, tx pgx.Tx, table *pg.Table) (string, error) {
	rows, err := tx.Query(ctx, `
		SELECT quote_ident(a.attname), a.attlen FROM pg_attribute a
		 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
		 ORDER BY a.attnum`, table.OID)
	if err != nil {
		return "", err
	}
	var name string
	var length int16
	fixed, parts := tupleHeader+len(table.Columns)/8, []string(nil)
	_, err = pgx.ForEachRow(rows, []any{&name, &length}, func() error {
		if length > 0 {
			parts = append(parts, fmt.Sprintf("CASE WHEN %s IS NULL THEN 0 ELSE %d END", name, length))
			return nil
		}
		// 2032 bytes is where values are moved out (TOAST_TUPLE_THRESHOLD), of which 18 stay.
		parts = append(parts, fmt.Sprintf("CASE WHEN pg_catalog.pg_column_size(%[1]s) > 2032 THEN 18 ELSE coalesce(pg_catalog.pg_column_size(%[1]s), 0) END", name))
		return nil
	})
	return strings.Join(append(parts, fmt.Sprint(fixed)), " + "), err
}
