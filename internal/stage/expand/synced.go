package expand

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// guardSyncs refuses to drop columns that the trigger of a sync uses: every write of the table would fail in it. That of a sync
// that a contract has retired still works while the old columns are in quarantine.
func (s *Spec) guardSyncs(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, records []*ledger.Stage, going []pg.Column) error {
	for _, c := range going {
		for _, record := range records {
			uses := slices.Contains(record.Reads, c.Attnum) || slices.Contains(record.Writes, c.Attnum)
			if record.Kind != ledger.ColumnSync || !uses {
				continue
			}
			first := fmt.Sprintf("sync %s", record.Key)
			if record.Retired() {
				mirrors, err := hasTrigger(ctx, tx, env, table)
				if err != nil {
					return err
				}
				if !mirrors {
					continue
				}
				first = "contract that has retired the sync"
			} else if record.Status == ledger.Forgotten {
				continue
			}
			return finding.New(fmt.Sprintf("Column %s is kept by the sync %s", s.Table.Column(c.Name), record.Key),
				fmt.Sprintf("Its trigger uses the column, and without it every write of %s would fail. Destroy the %s first.", s.Table, first))
		}
	}
	return nil
}

// hasTrigger reports whether a function of the ledger is a trigger of the table.
func hasTrigger(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table) (has bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
		                WHERE t.tgrelid = $1 AND n.nspname = $2)`, table.OID, env.Ledger.Schema).Scan(&has)
	if err != nil {
		return false, fmt.Errorf("look for triggers of %s: %w", table.Name, err)
	}
	return has, nil
}
