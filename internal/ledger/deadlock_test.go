package ledger_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// A second apply looks at the lease at any moment of what the first one writes. Neither may become the victim of a
// deadlock.
func TestBeginningDoesNotDeadlockWithTheHolder(t *testing.T) {
	segments := []ledger.Segment{{Relation: 7, Filenode: 8, First: 0, End: 100, High: ledger.HashRange}}
	steps := map[string][2]func(tx pgx.Tx, lease ledger.Lease) error{
		"a new plan of the walk": {
			func(tx pgx.Tx, lease ledger.Lease) error { return theLedger.DropSegments(t.Context(), tx, lease, 7) },
			func(tx pgx.Tx, lease ledger.Lease) error {
				return errors.Join(theLedger.AddSegments(t.Context(), tx, lease, segments), theLedger.SetPages(t.Context(), tx, lease, 100))
			},
		},
		"a phase": {
			func(tx pgx.Tx, lease ledger.Lease) error { return theLedger.SetPages(t.Context(), tx, lease, 100) },
			func(tx pgx.Tx, lease ledger.Lease) error {
				return theLedger.SetPhase(t.Context(), tx, lease, ledger.PhaseSweep, "")
			},
		},
		"the end": {
			func(tx pgx.Tx, lease ledger.Lease) error {
				return theLedger.SetStatus(t.Context(), tx, lease.StageID, ledger.Running)
			},
			func(tx pgx.Tx, lease ledger.Lease) error { return theLedger.Finish(t.Context(), tx, lease, nil) },
		},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			database := pgtest.NewDatabase(t)
			db, other := open(t, database), open(t, database)
			ensure(t, db)
			stage := newStage("public.t/a")
			var lease ledger.Lease
			inTx(t, db, func(tx pgx.Tx) (err error) {
				if err := theLedger.Put(t.Context(), tx, stage); err != nil {
					return err
				}
				if lease, err = theLedger.TakeLease(t.Context(), tx, stage.ID, "the first"); err != nil {
					return err
				}
				return theLedger.AddSegments(t.Context(), tx, lease, segments)
			})
			second := make(chan error, 1)
			inTx(t, db, func(tx pgx.Tx) error {
				if err := step[0](tx, lease); err != nil {
					return err
				}
				go func() {
					second <- other.Tx(t.Context(), pgx.TxOptions{}, nil, func(tx pgx.Tx) error {
						if _, err := theLedger.LockStage(t.Context(), tx, stage.Kind, stage.Key); err != nil {
							return err
						}
						_, err := theLedger.TakeLease(t.Context(), tx, stage.ID, "the second")
						return err
					})
				}()
				waitUntilBlocked(t, database, tx)
				return step[1](tx, lease)
			})
			var held *ledger.LeaseHeldError
			if err := <-second; err != nil && !errors.As(err, &held) {
				t.Errorf("the second one: %v", err)
			}
		})
	}
}

// waitUntilBlocked waits until somebody waits for the transaction.
func waitUntilBlocked(t *testing.T, database *pgtest.Database, tx pgx.Tx) {
	t.Helper()
	blocks := func() bool {
		return pgtest.QueryRow[bool](t, database, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)))`,
			int32(tx.Conn().PgConn().PID())) //nolint:gosec // pids are small
	}
	for deadline := time.Now().Add(30 * time.Second); !blocks(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for the transaction")
		}
	}
}
