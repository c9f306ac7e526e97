package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Kind is the kind of a stage, by the name of its resource without the provider's prefix.
type Kind string

// The kinds of stages.
const (
	ColumnExpand    Kind = "column_expand"
	ColumnSync      Kind = "column_sync"
	BatchedBackfill Kind = "batched_backfill"
	ColumnContract  Kind = "column_contract"
)

// Status is how far a stage is.
type Status string

// The states of a stage. A forgotten backfill is kept because it says from what its columns were filled, which an
// undo of the expand has to know.
const (
	Running   Status = "running"
	Complete  Status = "complete"
	Forgotten Status = "forgotten"
)

// Stage is the record of one stage.
type Stage struct {
	ID       int64
	Kind     Kind
	Key      string
	TableOID uint32
	Table    pg.TableName // as it was called when the stage was recorded
	Spec     json.RawMessage
	Reads    []int16
	Writes   []int16
	Status   Status
	Undo     json.RawMessage
	// RetiredBy is the contract that took a column away from the stage, or nil.
	RetiredBy *int64
}

// Retired reports whether a contract took a column away from the stage, after which it can neither run nor drift.
func (s *Stage) Retired() bool { return s.RetiredBy != nil }

const stageColumns = `id, kind, key, table_oid, table_schema, table_name, spec, reads, writes, status, undo, retired_by`

func scanStage(row pgx.CollectableRow) (*Stage, error) {
	var s Stage
	err := row.Scan(&s.ID, &s.Kind, &s.Key, &s.TableOID, &s.Table.Schema, &s.Table.Name, &s.Spec, &s.Reads, &s.Writes,
		&s.Status, &s.Undo, &s.RetiredBy)
	return &s, err
}

// Stage returns the record of a stage, or nil when there is none.
func (l Ledger) Stage(ctx context.Context, tx pgx.Tx, kind Kind, key string) (*Stage, error) {
	return l.one(ctx, tx, `SELECT `+stageColumns+` FROM `+l.table("stage")+` WHERE kind = $1 AND key = $2`, kind, key)
}

// LockStage returns the record of a stage and keeps others from changing it until the transaction ends. The lock does not
// conflict with that of a foreign key check: a second update of a row of backfill in one transaction makes one, although
// the key stays (src/backend/utils/adt/ri_triggers.c, RI_FKey_fk_upd_check_required), and would deadlock with it.
func (l Ledger) LockStage(ctx context.Context, tx pgx.Tx, kind Kind, key string) (*Stage, error) {
	return l.one(ctx, tx, `SELECT `+stageColumns+` FROM `+l.table("stage")+` WHERE kind = $1 AND key = $2 FOR NO KEY UPDATE`, kind, key)
}

func (l Ledger) one(ctx context.Context, tx pgx.Tx, sql string, args ...any) (*Stage, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, scanStage)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	return s, nil
}

// StagesOf returns the stages recorded for a table, oldest first.
func (l Ledger) StagesOf(ctx context.Context, tx pgx.Tx, tableOID uint32) ([]*Stage, error) {
	rows, err := tx.Query(ctx, `SELECT `+stageColumns+` FROM `+l.table("stage")+` WHERE table_oid = $1 ORDER BY id`, tableOID)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	stages, err := pgx.CollectRows(rows, scanStage)
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	return stages, nil
}

// StagesOfKind returns all stages of one kind, ordered by table and identity.
func (l Ledger) StagesOfKind(ctx context.Context, tx pgx.Tx, kind Kind) ([]*Stage, error) {
	rows, err := tx.Query(ctx, `SELECT `+stageColumns+` FROM `+l.table("stage")+` WHERE kind = $1 ORDER BY table_schema, table_name, key`, kind)
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	stages, err := pgx.CollectRows(rows, scanStage)
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	return stages, nil
}

// Put writes the record of a stage, replacing the former one of the same kind and key, and sets its ID.
func (l Ledger) Put(ctx context.Context, tx pgx.Tx, s *Stage) error {
	if s.Undo == nil {
		s.Undo = json.RawMessage("{}")
	}
	err := tx.QueryRow(ctx, `
		INSERT INTO `+l.table("stage")+` AS s (kind, key, table_oid, table_schema, table_name, spec, reads, writes, status, undo)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (kind, key) DO UPDATE
		   SET table_oid = excluded.table_oid, table_schema = excluded.table_schema, table_name = excluded.table_name,
		       spec = excluded.spec, reads = excluded.reads, writes = excluded.writes, status = excluded.status,
		       undo = excluded.undo, retired_by = NULL, updated_at = now()
		RETURNING s.id`,
		s.Kind, s.Key, s.TableOID, s.Table.Schema, s.Table.Name, string(s.Spec), notNull(s.Reads), notNull(s.Writes), s.Status,
		string(s.Undo)).Scan(&s.ID)
	if err != nil {
		return l.explain(fmt.Errorf("write the ledger: %w", err))
	}
	return nil
}

// SetStatus changes the status of a stage.
func (l Ledger) SetStatus(ctx context.Context, tx pgx.Tx, id int64, status Status) error {
	return l.exec(ctx, tx, `UPDATE `+l.table("stage")+` SET status = $2, updated_at = now() WHERE id = $1`, id, status)
}

// Delete removes the record of a stage and all that belongs to it.
func (l Ledger) Delete(ctx context.Context, tx pgx.Tx, id int64) error {
	return l.exec(ctx, tx, `DELETE FROM `+l.table("stage")+` WHERE id = $1`, id)
}

// Retire marks the stages of the table that read or write one of the columns, because the contract takes them away.
func (l Ledger) Retire(ctx context.Context, tx pgx.Tx, contract *Stage, columns []int16) error {
	return l.exec(ctx, tx, `
		UPDATE `+l.table("stage")+` SET retired_by = $1, updated_at = now()
		 WHERE table_oid = $2 AND id <> $1 AND retired_by IS NULL AND (reads && $3 OR writes && $3)`,
		contract.ID, contract.TableOID, columns)
}

func (l Ledger) exec(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return l.explain(fmt.Errorf("write the ledger: %w", err))
	}
	return nil
}

func notNull(columns []int16) []int16 {
	if columns == nil {
		return []int16{}
	}
	return columns
}
