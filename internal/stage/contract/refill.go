package contract

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
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// refill fills columns that were added again, by backfills of its own: only where they are NULL, so that what a service has
// written since stays.
func (s *Spec) refill(ctx context.Context, env *stage.Env, found *inspection) (missing []*finding.Finding, err error) {
	composite, err := s.readComposite(ctx, env, found)
	if err != nil {
		return nil, err
	}
	newSide, err := s.newSide(ctx, env, found)
	if err != nil {
		return nil, err
	}
	columns := stage.SortedKeys(found.undo.Columns)
	specs := []*backfill.Spec{{ID: s.ID + " (undo)", Set: make(map[string]string)}}
	for _, name := range columns {
		value := s.restored(name, &found.undo)
		switch {
		case value == "":
			missing = append(missing, finding.New(fmt.Sprintf("Column %s is back, but empty", s.Table.Column(name)),
				"It was dropped without an archive, and no sync says how its values follow from other columns."))
		case slices.Contains(composite, name):
			// IS NULL looks into composite values; only a comparison of whole values tells which of them are missing.
			specs = append(specs, &backfill.Spec{
				ID: fmt.Sprintf("%s (undo of %s)", s.ID, name), Set: map[string]string{name: value}, Overwrite: true,
				Where: pg.Quote(name) + " IS NOT DISTINCT FROM NULL",
			})
		default:
			specs[0].Set[name] = value
		}
	}
	// The syncs must take no notice: to one that has no reverse, this would be an old value that replaces newer ones.
	quietly := safely(env, stage.Filling(found.table, append(columns, newSide...), nil))
	for _, spec := range specs {
		if len(spec.Set) == 0 {
			continue
		}
		spec.Table = s.Table
		_, err := spec.Apply(ctx, quietly)
		if spec.Overwrite && pg.SQLState(err) == stateNoOperator {
			missing = append(missing, finding.New(fmt.Sprintf("Column %s is back, but empty", s.Table.Column(stage.SortedKeys(spec.Set)[0])),
				fmt.Sprintf("Its values cannot be compared, so that no batch could tell the rows that lack them. They stay in %s, which is yours to drop.",
					s.archiveName())).Because(err))
			found.keepArchive, err = true, nil
		}
		if err != nil {
			return nil, s.refillFailed(err)
		}
		if err := s.forgetBackfill(ctx, env, spec.ID); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// refillFailed says that the backfill of which an error tells is that of an undo.
func (s *Spec) refillFailed(err error) error {
	var f *finding.Finding
	if errors.As(err, &f) {
		f.Detail = finding.Paragraphs(f.Detail, fmt.Sprintf("This is the undo of the contract of %s: the columns are there again and are being refilled. "+
			"It goes on when the contract is destroyed again.", s.describe()))
	}
	return err
}

// stateNoOperator is the SQLSTATE of a comparison that the types do not have.
const stateNoOperator = "42883"

// forgetBackfill deletes the record of a backfill that was ours alone.
func (s *Spec) forgetBackfill(ctx context.Context, env *stage.Env, id string) error {
	return s.record(ctx, env, func(tx pgx.Tx) error {
		record, err := env.Ledger.LockStage(ctx, tx, ledger.BatchedBackfill, id)
		if err != nil || record == nil {
			return err
		}
		return env.Ledger.Delete(ctx, tx, record.ID)
	})
}

// readComposite returns the columns whose values are rows.
func (s *Spec) readComposite(ctx context.Context, env *stage.Env, found *inspection) (names []string, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			WITH RECURSIVE under(name, oid) AS (
			  SELECT attname::text, atttypid FROM pg_attribute WHERE attrelid = $1 AND attname = ANY($2)
			  UNION ALL
			  SELECT u.name, t.typbasetype FROM under u JOIN pg_type t ON t.oid = u.oid AND t.typtype = 'd'
			)
			SELECT u.name FROM under u JOIN pg_type t ON t.oid = u.oid AND t.typtype = 'c'`, found.table.OID, stage.SortedKeys(found.undo.Columns))
		if err != nil {
			return fmt.Errorf("read the types of the columns: %w", err)
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return names, err
}

// restored renders what a row gets: the archived value if the row's new side is as it was then, else what reverse gives. A row
// that has come since has no archived value. It is "" when nothing is known.
func (s *Spec) restored(name string, kept *undo) string {
	was, table := kept.Columns[name], pg.Quote(s.Table.Name)
	given := ""
	if was.Reverse != "" {
		given = fmt.Sprintf("%s::%s", expression.Parenthesize(was.Reverse), was.Type)
	}
	if kept.Archive == nil {
		return given
	}
	var same []string
	for _, column := range kept.Archive.Key {
		same = append(same, fmt.Sprintf("%s.%s = %s.%s", s.kept(), pg.Quote(column), table, pg.Quote(column)))
	}
	if was.Reverse != "" {
		then, now := make([]string, len(was.From)), make([]string, len(was.From))
		for i, column := range was.From {
			then[i], now[i] = s.kept()+"."+pg.Quote(column), table+"."+pg.Quote(column)
		}
		same = append(same, fmt.Sprintf("ROW(%s)::record OPERATOR(pg_catalog.*=) ROW(%s)::record", strings.Join(then, ", "), strings.Join(now, ", ")))
	}
	from := fmt.Sprintf("FROM %s AS %s WHERE %s", s.archiveName().SQL(), s.kept(), strings.Join(same, " AND "))
	archived := fmt.Sprintf("(SELECT %s.%s %s)", s.kept(), pg.Quote(name), from)
	if given == "" {
		return archived
	}
	return fmt.Sprintf("CASE WHEN EXISTS (SELECT %s) THEN %s ELSE %s END", from, archived, given)
}

// newSide returns the new columns of the syncs that have to do with the columns.
func (s *Spec) newSide(ctx context.Context, env *stage.Env, found *inspection) (columns []string, err error) {
	numbers := make([]int16, 0, len(found.undo.Columns))
	for _, was := range found.undo.Columns {
		numbers = append(numbers, was.Attnum)
	}
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		records, err := env.RecordsOf(ctx, tx, found.table)
		if err != nil {
			return err
		}
		for _, record := range records {
			if record.Kind != ledger.ColumnSync || (!overlap(record.Reads, numbers) && !overlap(record.Writes, numbers)) {
				continue
			}
			spec, err := stage.Decode[dualwrite.Spec](record.Spec)
			if err != nil {
				return err
			}
			columns = append(columns, spec.New()...)
		}
		return nil
	})
	return columns, err
}
