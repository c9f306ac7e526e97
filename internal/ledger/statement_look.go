package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// StatementLook is how often a statement that uses a table had been called when somebody looked.
type StatementLook struct {
	RoleOID uint32
	QueryID int64
	Calls   int64
	// ChangedAt is when a look first found this number of calls.
	ChangedAt time.Time
}

// ColumnLooks returns when the calls of statements on all the columns were first and last stored; nil when those of some
// column never were. It works before the ledger exists, or has the table.
func (l Ledger) ColumnLooks(ctx context.Context, tx pgx.Tx, tableOID uint32, columns []int16) (first, last *time.Time, err error) {
	if exists, err := l.hasLooks(ctx, tx); err != nil || !exists {
		return nil, nil, err
	}
	var known int
	err = tx.QueryRow(ctx, `
		SELECT count(*), max(first_looked_at), min(looked_at) FROM `+l.table("column_look")+`
		 WHERE table_oid = $1 AND column_number = ANY($2)`, tableOID, columns).Scan(&known, &first, &last)
	if err != nil {
		return nil, nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	if known < len(columns) {
		return nil, nil, nil
	}
	return first, last, nil
}

// StatementLooks returns the calls of the statements on a table as they were stored last. It works before the ledger exists,
// or has the table.
func (l Ledger) StatementLooks(ctx context.Context, tx pgx.Tx, tableOID uint32) ([]StatementLook, error) {
	if exists, err := l.hasLooks(ctx, tx); err != nil || !exists {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT role_oid, query_id, calls, changed_at FROM `+l.table("statement_look")+` WHERE table_oid = $1`, tableOID)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	looks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[StatementLook])
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	return looks, nil
}

// hasLooks reports whether the ledger is there in a version that stores looks.
func (l Ledger) hasLooks(ctx context.Context, tx pgx.Tx) (exists bool, err error) {
	err = tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, l.table("statement_look")).Scan(&exists)
	if err != nil {
		return false, l.explain(fmt.Errorf("look for the ledger: %w", err))
	}
	return exists, nil
}

// PutLook stores a look at the columns of a table, made at the given time, and forgets tables that are gone. A look that is
// older than the stored one changes nothing.
func (l Ledger) PutLook(ctx context.Context, tx pgx.Tx, tableOID uint32, columns []int16, at time.Time, looks []StatementLook) error {
	for _, table := range []string{"column_look", "statement_look"} {
		err := l.exec(ctx, tx, `DELETE FROM `+l.table(table)+` WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = table_oid)`)
		if err != nil {
			return err
		}
	}
	err := l.exec(ctx, tx, `
		INSERT INTO `+l.table("column_look")+` AS c (table_oid, column_number, first_looked_at, looked_at)
		SELECT $1, number, $3, $3 FROM unnest($2::smallint[]) AS number ORDER BY number
		ON CONFLICT (table_oid, column_number) DO UPDATE SET looked_at = excluded.looked_at WHERE c.looked_at < excluded.looked_at`,
		tableOID, columns, at)
	if err != nil {
		return err
	}
	roles, queries, calls := make([]uint32, len(looks)), make([]int64, len(looks)), make([]int64, len(looks))
	for i, look := range looks {
		roles[i], queries[i], calls[i] = look.RoleOID, look.QueryID, look.Calls
	}
	return l.exec(ctx, tx, `
		INSERT INTO `+l.table("statement_look")+` AS s (table_oid, role_oid, query_id, calls, changed_at, looked_at)
		SELECT $1, look.role_oid, look.query_id, look.calls, $5, $5
		  FROM unnest($2::oid[], $3::bigint[], $4::bigint[]) AS look(role_oid, query_id, calls)
		 ORDER BY 2, 3 -- Two looks at once wait for each other in one order only.
		ON CONFLICT (table_oid, role_oid, query_id) DO UPDATE
		   SET changed_at = CASE WHEN s.calls = excluded.calls THEN s.changed_at ELSE excluded.changed_at END,
		       calls = excluded.calls, looked_at = excluded.looked_at
		 WHERE s.looked_at < excluded.looked_at`, tableOID, roles, queries, calls, at)
}

// OldestStage returns when the first of the stages was recorded, or nil when there are none.
func (l Ledger) OldestStage(ctx context.Context, tx pgx.Tx, ids []int64) (at *time.Time, err error) {
	err = tx.QueryRow(ctx, `SELECT min(created_at) FROM `+l.table("stage")+` WHERE id = ANY($1)`, ids).Scan(&at)
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	return at, nil
}
