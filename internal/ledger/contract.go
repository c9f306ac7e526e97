package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// SetUndo replaces what an undo of the stage needs to know.
func (l Ledger) SetUndo(ctx context.Context, tx pgx.Tx, id int64, undo json.RawMessage) error {
	return l.exec(ctx, tx, `UPDATE `+l.table("stage")+` SET undo = $2, updated_at = now() WHERE id = $1`, id, string(undo))
}

// Watched returns how long the stage has stood as it is: since it was last applied, or came back from a contract. The time
// is that of the server.
func (l Ledger) Watched(ctx context.Context, tx pgx.Tx, id int64) (since, now time.Time, err error) {
	err = tx.QueryRow(ctx, `SELECT updated_at, clock_timestamp() FROM `+l.table("stage")+` WHERE id = $1`, id).Scan(&since, &now)
	if err != nil {
		return since, now, fmt.Errorf("read the ledger: %w", err)
	}
	return since, now, nil
}

// RetiredBy returns the stages that a contract has retired.
func (l Ledger) RetiredBy(ctx context.Context, tx pgx.Tx, contract int64) ([]*Stage, error) {
	rows, err := tx.Query(ctx, `SELECT `+stageColumns+` FROM `+l.table("stage")+` WHERE retired_by = $1 ORDER BY id`, contract)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	stages, err := pgx.CollectRows(rows, scanStage)
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	return stages, nil
}

// ReinstateKind undoes Retire for the stages of one kind. Those of the others come back when the contract's record is
// deleted.
func (l Ledger) ReinstateKind(ctx context.Context, tx pgx.Tx, contract int64, kind Kind) error {
	return l.exec(ctx, tx, `UPDATE `+l.table("stage")+` SET retired_by = NULL, updated_at = now() WHERE retired_by = $1 AND kind = $2`,
		contract, kind)
}

// Renumber puts the new numbers of columns in the place of former ones, in all that the ledger knows of a table. A column
// that was dropped and added again has another number.
func (l Ledger) Renumber(ctx context.Context, tx pgx.Tx, tableOID uint32, former, now []int16) error {
	const renumbered = `ARRAY(SELECT coalesce(($3::smallint[])[array_position($2::smallint[], n)], n) FROM unnest(%s) WITH ORDINALITY AS c(n, i) ORDER BY i)`
	err := l.exec(ctx, tx, `
		UPDATE `+l.table("stage")+`
		   SET reads = `+fmt.Sprintf(renumbered, "reads")+`, writes = `+fmt.Sprintf(renumbered, "writes")+`
		 WHERE table_oid = $1 AND (reads && $2 OR writes && $2)`, tableOID, former, now)
	if err != nil {
		return err
	}
	// An expand keeps the numbers of the columns that it has added by their names.
	return l.exec(ctx, tx, `
		UPDATE `+l.table("stage")+`
		   SET undo = (SELECT jsonb_object_agg(key, jsonb_set(value, '{Attnum}',
		                        to_jsonb(coalesce(($3::smallint[])[array_position($2::smallint[], (value->>'Attnum')::smallint)],
		                                          (value->>'Attnum')::smallint))))
		                 FROM jsonb_each(undo))
		 WHERE table_oid = $1 AND kind = $4 AND undo <> '{}'`, tableOID, former, now, ColumnExpand)
}

// Snapshot is the end of a backfill: no snapshot that is older has seen all that it wrote.
type Snapshot struct {
	// Xmax is the first transaction number that had not been given out, as text.
	Xmax string
	At   time.Time
}

// Completions returns the ends of the backfills, as far as they are complete.
func (l Ledger) Completions(ctx context.Context, tx pgx.Tx, backfills []int64) ([]Snapshot, error) {
	rows, err := tx.Query(ctx, `
		SELECT completed_xmax::text, completed_at FROM `+l.table("backfill")+`
		 WHERE stage_id = ANY($1) AND completed_xmax IS NOT NULL AND completed_at IS NOT NULL`, backfills)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	ends, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Snapshot])
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	return ends, nil
}
