package ledger_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func historyOf(t *testing.T, db *pg.DB) (history []ledger.History) {
	t.Helper()
	inTx(t, db, func(tx pgx.Tx) (err error) {
		history, err = theLedger.History(t.Context(), tx)
		return err
	})
	return history
}

// What a job costs is counted while its batches run, and neither while they wait nor while nobody runs it.
func TestCostOfAJob(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	if history := historyOf(t, db); len(history) != 0 {
		t.Errorf("there is no ledger yet, and it says %v", history)
	}
	ensure(t, db)
	const key = "public.t/n"
	lease := beginBackfill(t, db, key)
	inTx(t, db, func(tx pgx.Tx) error { return theLedger.CheckpointSweep(t.Context(), tx, lease, 5) })
	// An hour ago, a GiB of WAL ago.
	rewind := func() {
		database.Exec(t, `UPDATE terraform_postgres.backfill SET counted_at = counted_at - interval '1 hour', counted_wal = '0/1'`)
	}
	expect := func(when string, busy time.Duration) {
		t.Helper()
		history := historyOf(t, db)
		if len(history) != 1 || history[0].Key != key || history[0].Rows != 5 {
			t.Fatalf("%s: history = %+v", when, history)
		}
		if h := history[0]; h.Busy < busy || h.Busy > busy+time.Minute || (h.WAL > 0) != (busy > 0) {
			t.Errorf("%s: busy for %s with %d bytes of WAL, want %s", when, h.Busy, h.WAL, busy)
		}
	}
	rewind()
	beat(t, db, lease, ledger.Report{Throttled: "replica_lag"})
	expect("while batches wait", 0)
	rewind()
	beat(t, db, lease, ledger.Report{})
	expect("while batches run", time.Hour)
	rewind()
	inTx(t, db, func(tx pgx.Tx) error { return theLedger.ReleaseLease(t.Context(), tx, lease) })
	expect("after the apply", 2*time.Hour)
	inTx(t, db, func(tx pgx.Tx) error {
		again, err := theLedger.TakeLease(t.Context(), tx, lease.StageID, "the next apply")
		if err == nil {
			err = theLedger.Begin(t.Context(), tx, again, 1000)
		}
		if err == nil {
			err = theLedger.CheckpointSweep(t.Context(), tx, again, 5)
		}
		return err
	})
	expect("after the walk began anew", 0)
}

// A plan may come before the apply that upgrades the ledger.
func TestHistoryOfAnOlderLedger(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	lease := beginBackfill(t, db, "public.t/n")
	inTx(t, db, func(tx pgx.Tx) error { return theLedger.CheckpointSweep(t.Context(), tx, lease, 5) })
	inTx(t, db, func(tx pgx.Tx) error { return theLedger.Finish(t.Context(), tx, lease, nil) })
	database.Exec(t, `
		ALTER TABLE terraform_postgres.backfill DROP wal_bytes, DROP busy_seconds, DROP counted_at, DROP counted_wal;
		UPDATE terraform_postgres.backfill SET started_at = completed_at - interval '10 minutes'`)
	history := historyOf(t, db)
	if len(history) != 1 || history[0].Busy != 10*time.Minute || history[0].WAL != 0 {
		t.Errorf("history = %+v, want 10 minutes and no WAL", history)
	}
}
