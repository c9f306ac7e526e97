package contract

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// Bounds of the sample from which a plan sizes the archive.
const (
	sampleRows = 10_000
	sampleTime = 3 * time.Second
)

// foretellArchive tells the reviewer how large the archive becomes, from a sample of the rows.
func (s *Spec) foretellArchive(ctx context.Context, env *stage.Env, found *inspection) (string, error) {
	var sampled, lost, width int64
	settings := []pg.Setting{pg.Timeout("lock_timeout", time.Second), pg.Timeout("statement_timeout", sampleTime)}
	safe := safely(env)
	err := safe.DB.Tx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, settings, func(tx pgx.Tx) error {
		table, err := pg.ReadTable(ctx, tx, s.Table)
		if err != nil {
			return err
		}
		task := &copyTask{spec: s, columns: found.undo.Columns, key: archiveKey(table), present: quarantined}
		if found.place == inPlace {
			memory, err := s.remember(ctx, tx, &inspection{table: table, syncs: found.syncs})
			if err != nil {
				return err
			}
			task.columns, task.present = memory.Columns, func(column string) string { return column }
		}
		if err := tx.QueryRow(ctx, task.sample(table)).Scan(&sampled, &lost); err != nil {
			return err
		}
		names := append(append([]string(nil), found.names()...), append(task.key, task.newSide()...)...)
		return tx.QueryRow(ctx, `
			SELECT coalesce(sum(w), 0)::bigint
			  FROM (SELECT max(avg_width) AS w FROM pg_stats WHERE schemaname = $1 AND tablename = $2 AND attname = ANY($3) GROUP BY attname) AS widths`,
			s.Table.Schema, s.Table.Name, names).Scan(&width)
	})
	what := fmt.Sprintf("The archive %s", s.archiveName())
	switch {
	case pg.IsStatementTimeout(ctx, err), pg.IsContention(err):
		return what + " could not be sized. archive = false does without it.", nil
	case pg.IsRowError(err):
		return "", s.explainCopy(err)
	case err != nil:
		return "", fmt.Errorf("size the archive: %w", err)
	case sampled == 0:
		return what + " has no rows to keep.", nil
	}
	rows := max(found.table.EstimatedRows, float64(sampled)) * float64(lost) / float64(sampled)
	const header = 36 // a row's header and its entry in the primary key
	size := ""
	if width > 0 {
		size = fmt.Sprintf(" (%s)", ddl.Bytes(rows*float64(width+header)))
	}
	low, high, wal := backfill.Copying(found.table, rows, float64(width+header))
	return fmt.Sprintf("%s keeps %s%s, for which nothing else gives the old value: %s of a sample of %s. To copy and prove them takes %s beside the "+
		"application and writes about %s of WAL. archive = false does without it.", what, ddl.Rows(rows), size, humanize.Comma(lost),
		humanize.Comma(sampled), backfill.Span(low, high), ddl.Bytes(wal)), nil
}

// sample renders the query that counts, of some rows, those that the archive would keep.
func (c *copyTask) sample(table *pg.Table) string {
	sample := ""
	if table.EstimatedRows > 5*sampleRows && !table.Partitioned {
		sample = fmt.Sprintf(" TABLESAMPLE SYSTEM (%g)", max(100*float64(sampleRows)/table.EstimatedRows, 0.0001))
	}
	return fmt.Sprintf("SELECT count(*), count(*) FILTER (WHERE %s)\n  FROM (SELECT * FROM %s%s LIMIT %d) AS %s", c.lost(), c.spec.Table.SQL(), sample,
		sampleRows, pg.Quote(c.spec.Table.Name))
}
