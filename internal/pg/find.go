package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// FindTable returns the OID of a table by its name. It returns the same findings as ReadTable, but does not touch the table
// itself, so that it answers also while somebody holds ACCESS EXCLUSIVE on it.
func FindTable(ctx context.Context, tx pgx.Tx, name TableName) (oid uint32, err error) {
	var kind, persistence string
	err = tx.QueryRow(ctx, `
		SELECT c.oid, c.relkind::text, c.relpersistence::text
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = $1 AND c.relname = $2`, name.Schema, name.Name).Scan(&oid, &kind, &persistence)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, unknownTable(ctx, tx, name)
	}
	if err != nil {
		return 0, fmt.Errorf("look for table %s: %w", name, err)
	}
	return oid, unsuitable(name, kind, persistence)
}
