package usage

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Legacy returns the writers of the old side.
func (r *Report) Legacy() []ledger.Writer {
	return slices.DeleteFunc(slices.Clone(r.Writers), func(w ledger.Writer) bool { return w.Side != "old" })
}

// readWriters reads what the triggers of syncs have noted, also of those that a contract has retired.
func (r *Report) readWriters(ctx context.Context, tx pgx.Tx, env *stage.Env, t *target) error {
	numbers := t.numbers()
	asked := func(n int16) bool { return slices.Contains(numbers, n) }
	var keys []string
	var live []int64
	for _, record := range t.records {
		if record.Kind != ledger.ColumnSync || !slices.ContainsFunc(slices.Concat(record.Reads, record.Writes), asked) {
			continue
		}
		keys = append(keys, record.Key)
		if record.Retired() || record.Status == ledger.Forgotten {
			continue
		}
		watches, err := r.watches(ctx, tx, t, record.Key)
		if err != nil {
			return err
		}
		if watches {
			live = append(live, record.ID)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	var err error
	if r.Writers, err = env.Ledger.Writers(ctx, tx, keys); err != nil {
		return err
	}
	r.WatchedSince, err = env.Ledger.OldestStage(ctx, tx, live)
	return err
}

// watches reports whether an enabled trigger of the table notes the writers of a sync.
func (r *Report) watches(ctx context.Context, tx pgx.Tx, t *target, sync string) (watches bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
		                WHERE t.tgrelid = $1 AND t.tgenabled IN ('O', 'A')
		                  AND strpos(p.prosrc, 'note_writer"(') > 0 AND strpos(p.prosrc, quote_literal($2)) > 0)`,
		t.table.OID, sync).Scan(&watches)
	return watches, err
}
