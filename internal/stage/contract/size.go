package contract

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Bounds of the sample from which a plan sizes the archive.
const (
	sampleRows = 10_000
	sampleTime = 3 * time.Second
)

// foretellArchive tells the reviewer how large the archive becomes, from a sample of the rows.
func (s *Spec) foretellArchive(ctx context.Context, env *stage.Env, found *inspection) (*finding.Finding, error) {
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
	title := fmt.Sprintf("Archive of columns of %s", s.describe())
	what := fmt.Sprintf("It is the table %s. It holds the values that nothing else gives back, by the primary key of their rows, until the contract is "+
		"undone. To discard it one day:\n\n  archive = false", s.archiveName())
	switch {
	case pg.IsStatementTimeout(ctx, err), pg.IsContention(err):
		return finding.New(title+" could not be sized", what), nil
	case pg.IsRowError(err):
		return nil, s.explainCopy(err)
	case err != nil:
		return nil, fmt.Errorf("size the archive: %w", err)
	case sampled == 0:
		return finding.New(title+" has no rows to keep", what), nil
	}
	rows := max(found.table.EstimatedRows, float64(sampled)) * float64(lost) / float64(sampled)
	const header = 36 // a row's header and its entry in the primary key
	size := ""
	if width > 0 {
		size = fmt.Sprintf(", ~%s", humanize.IBytes(uint64(rows*float64(width+header))))
	}
	return finding.New(fmt.Sprintf("%s keeps ~%s rows%s", title, humanize.Comma(int64(rows)), size),
		finding.Paragraphs(fmt.Sprintf("In a sample of %s rows, %s have a value that is not what the reverse of a sync gives, or that no sync gives.",
			humanize.Comma(sampled), humanize.Comma(lost)), what)), nil
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
