package contract

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// renumber puts the numbers of columns that were added again into the ledger.
func (s *Spec) renumber(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, kept *undo) error {
	var former, now []int16
	for _, name := range stage.SortedKeys(kept.Columns) {
		was := kept.Columns[name]
		c, _ := table.Column(name)
		if was.Attnum != c.Attnum {
			former, now = append(former, was.Attnum), append(now, c.Attnum)
			was.Attnum = c.Attnum
			kept.Columns[name] = was
		}
	}
	if len(former) == 0 {
		return nil
	}
	return env.Ledger.Renumber(ctx, tx, table.OID, former, now)
}

// rearm lets the syncs work again that the contract has retired. Of one that was destroyed since, what still runs ends.
func (s *Spec) rearm(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, contract *ledger.Stage, kept *undo) error {
	keepers, err := retiredSyncs(ctx, tx, env, contract)
	if err != nil {
		return err
	}
	for _, k := range keepers {
		if k.record.Status == ledger.Forgotten {
			if err := k.spec.Disarm(ctx, tx); err != nil {
				return err
			}
			if err := env.Ledger.ForgetWriters(ctx, tx, k.record.Key); err != nil {
				return err
			}
			if err := env.Ledger.Delete(ctx, tx, k.record.ID); err != nil {
				return err
			}
			continue
		}
		complete := func(n int16) bool { _, there := table.ColumnByNumber(n); return there }
		missing := slices.ContainsFunc(slices.Concat(k.record.Reads, k.record.Writes), func(n int16) bool { return !complete(n) })
		if missing {
			// Every write of the table would fail in the trigger.
			kept.lose(fmt.Sprintf("The sync %s uses a column that is not there any more; its trigger was not made again", k.record.Key), "")
			if err := k.spec.Disarm(ctx, tx); err != nil {
				return err
			}
			continue
		}
		if err := k.spec.Arm(ctx, tx); err != nil {
			return err
		}
	}
	return env.Ledger.ReinstateKind(ctx, tx, contract.ID, ledger.ColumnSync)
}
