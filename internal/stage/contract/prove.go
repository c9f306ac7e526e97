package contract

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// readersOf returns the backfills that need the columns.
func readersOf(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, columns []int16) ([]*ledger.Stage, error) {
	records, err := env.RecordsOf(ctx, tx, table)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(records, func(r *ledger.Stage) bool {
		return r.Kind != ledger.BatchedBackfill || r.Status == ledger.Forgotten || r.Retired() || !overlap(r.Reads, columns)
	}), nil
}

// prove refuses unless every backfill that reads the columns is complete, and a fresh look finds no row that it would
// still have to fill.
func (s *Spec) prove(ctx context.Context, env *stage.Env, readers []*ledger.Stage) error {
	for _, record := range readers {
		if record.Status != ledger.Complete {
			return finding.New(fmt.Sprintf("Backfill %s still reads columns of %s", record.Key, s.describe()),
				fmt.Sprintf("It is %s. If the columns went now, the rows that it has not reached would lose their values.\n\nLet the "+
					"backfill complete first, and refer to it, so that Terraform keeps the order:\n\n  table = postgres_batched_backfill.NAME.table",
					record.Status))
		}
		spec, err := stage.Decode[backfill.Spec](record.Spec)
		if err != nil {
			return err
		}
		const limit = 1000
		rows, err := backfill.Remaining(ctx, env, &spec, limit)
		if err != nil {
			return err
		}
		if rows > 0 {
			count := fmt.Sprintf("%d rows", rows)
			if rows >= limit {
				count = fmt.Sprintf("At least %d rows", limit)
			}
			return finding.New(fmt.Sprintf("%s of %s would need the backfill %s again", count, s.Table, record.Key),
				"It was complete, but rows have come since that it would have to fill: some service still writes only the old columns. If "+
					"they went now, those values would be lost.\n\nFind and change that service. To fill the rows, have Terraform run the "+
					"backfill once more:\n\n  terraform apply -replace=postgres_batched_backfill.NAME")
		}
	}
	return nil
}
