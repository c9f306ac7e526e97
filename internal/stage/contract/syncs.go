package contract

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// keeper is a sync that has to do with the columns.
type keeper struct {
	record *ledger.Stage
	spec   dualwrite.Spec
	// mirrors means that the sync can go on while the columns wait in quarantine, and keep them as reverse says: then
	// they are right when they come back.
	mirrors bool
}

// readSyncs returns the syncs that read or write the columns.
func (s *Spec) readSyncs(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, columns []int16) (keepers []*keeper, err error) {
	records, err := env.RecordsOf(ctx, tx, table)
	if err != nil {
		return nil, err
	}
	for _, record := range records {
		touches := overlap(record.Reads, columns) || overlap(record.Writes, columns)
		if record.Kind != ledger.ColumnSync || record.Status == ledger.Forgotten || record.Retired() || !touches {
			continue
		}
		k := &keeper{record: record}
		if k.spec, err = stage.Decode[dualwrite.Spec](record.Spec); err != nil {
			return nil, err
		}
		if k.mirrors, err = s.canMirror(ctx, tx, table, &k.spec); err != nil {
			return nil, err
		}
		keepers = append(keepers, k)
	}
	return keepers, nil
}

// canMirror reports whether the whole old side goes, and whether what its values are computed from stays.
func (s *Spec) canMirror(ctx context.Context, tx pgx.Tx, table *pg.Table, sync *dualwrite.Spec) (mirrors bool, err error) {
	goes := func(column string) bool { return slices.Contains(s.Columns, column) }
	stays := func(column string) bool { return !goes(column) }
	if len(sync.Reverse) == 0 || slices.ContainsFunc(sync.Old(), stays) || slices.ContainsFunc(sync.New(), goes) {
		return false, nil
	}
	mirrors = true
	err = expression.InSafePath(ctx, tx, expression.Scope{Table: table}, func(scope expression.Scope) error {
		for _, column := range sync.Old() {
			value, err := expression.Compile(ctx, tx, scope, "Expression for column "+s.Table.Column(column), sync.Reverse[column])
			if err != nil {
				return err
			}
			mirrors = mirrors && !slices.ContainsFunc(value.Reads, goes)
		}
		return nil
	})
	return mirrors, err
}

// checkSyncs refuses while a sync does not work, and when the columns that go are only a part of its old side.
func (s *Spec) checkSyncs(ctx context.Context, tx pgx.Tx, keepers []*keeper) error {
	for _, k := range keepers {
		live, err := k.spec.Live(ctx, tx, k.record)
		if err != nil {
			return err
		}
		if !live {
			return finding.New(fmt.Sprintf("Sync %s does not keep both sides equal", k.record.Key),
				fmt.Sprintf("Its trigger on %s was dropped, disabled or changed, so that nobody knows what was written since, and by whom. Apply the sync "+
					"again, and look whether all rows are filled:\n\n  terraform apply -replace=postgres_column_sync.NAME", s.Table))
		}
		old := slices.ContainsFunc(s.Columns, func(c string) bool { return !slices.Contains(k.spec.New(), c) })
		stays := slices.DeleteFunc(k.spec.Old(), func(c string) bool { return slices.Contains(s.Columns, c) })
		if old && len(stays) > 0 {
			return finding.New(fmt.Sprintf("Columns of %s are only a part of the old side of the sync %s", s.describe(), k.record.Key),
				fmt.Sprintf("The sync ends with the contract, and nothing would keep %s equal any more. Contract them in one resource:\n\n"+
					"  columns = [%s]", pg.QuoteAll(stays), quotedList(append(slices.Clone(s.Columns), stays...)))).At("columns")
		}
	}
	return nil
}

// retire ends what the syncs do for the services. One that mirrors goes on with the quarantined columns, so that they are
// right when they come back; the triggers of the others are dropped, because every write would fail in them.
func (s *Spec) retire(ctx context.Context, tx pgx.Tx, keepers []*keeper) error {
	names := make(map[string]string, len(s.Columns))
	for _, column := range s.Columns {
		names[column] = quarantined(column)
	}
	for _, k := range keepers {
		if !k.mirrors {
			if err := k.spec.Disarm(ctx, tx); err != nil {
				return err
			}
			continue
		}
		if err := k.spec.Mirror(ctx, tx, names); err != nil {
			return err
		}
		for _, column := range k.spec.Old() {
			// A new row would come with the default, which the mirror takes for a value that moved here with its row.
			sql := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT", s.Table.SQL(), pg.Quote(names[column]))
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
	}
	return nil
}

// foretell says what becomes of the syncs.
func (k *keeper) foretell(mode Mode) string {
	text := fmt.Sprintf("The sync %s is retired", k.record.Key)
	switch {
	case !k.mirrors:
		return text + ": its trigger and function are dropped."
	case mode == Drop:
		return text + ": its trigger and function are dropped with the columns. Until then they keep the quarantined columns as reverse says."
	}
	return text + ": its function is replaced by one that keeps the quarantined columns as reverse says and does nothing else, so that they are " +
		"right when they come back."
}

func overlap(a, b []int16) bool {
	return slices.ContainsFunc(a, func(n int16) bool { return slices.Contains(b, n) })
}
