package stage

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// StillNamed reports whether all columns that a stage knows by number are there under one of the names. It waits for no lock.
func StillNamed(ctx context.Context, tx pgx.Tx, table uint32, numbers []int16, names []string) (still bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT NOT EXISTS (SELECT n FROM unnest($2::int2[]) AS n
		                   EXCEPT
		                   SELECT attnum FROM pg_attribute WHERE attrelid = $1 AND NOT attisdropped AND attname = ANY($3::text[]))`,
		table, numbers, names).Scan(&still)
	if err != nil {
		return false, fmt.Errorf("look for the columns of the stage: %w", err)
	}
	return still, nil
}
