package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var theLedger = ledger.Ledger{Schema: ledger.DefaultSchema}

func open(t *testing.T, database *pgtest.Database) *pg.DB {
	t.Helper()
	db := pg.Open(pg.Settings{ConnectionString: database.ConnString(), MaxConnections: 2})
	t.Cleanup(db.Close)
	return db
}

func ensure(t *testing.T, db *pg.DB) {
	t.Helper()
	if err := theLedger.Ensure(t.Context(), db); err != nil {
		t.Fatal(err)
	}
}

// inTx runs fn in a transaction that must succeed.
func inTx(t *testing.T, db *pg.DB, fn func(tx pgx.Tx) error) {
	t.Helper()
	if err := db.Tx(t.Context(), pgx.TxOptions{}, nil, fn); err != nil {
		t.Fatal(err)
	}
}

func TestManyAppliesMayCreateTheLedgerAtOnce(t *testing.T) {
	database := pgtest.NewDatabase(t)
	var group errgroup.Group
	for range 10 {
		db := open(t, database)
		group.Go(func() error { return theLedger.Ensure(t.Context(), db) })
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if n := pgtest.QueryRow[int](t, database, `SELECT count(*) FROM terraform_postgres.version`); n != 1 {
		t.Errorf("the ledger has %d versions", n)
	}
	held := pgtest.QueryRow[int](t, database, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	if held != 0 {
		t.Errorf("%d advisory locks were left behind", held)
	}
}

func TestNewerLedgerIsRefused(t *testing.T) {
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	database.Exec(t, `UPDATE terraform_postgres.version SET version = 99`)
	if err := theLedger.Ensure(t.Context(), db); err == nil || !strings.Contains(err.Error(), "is newer than this provider") {
		t.Errorf("Ensure = %v", err)
	}
}

func TestLedgerThatCannotBeUpgradedLeavesNoLock(t *testing.T) {
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	database.Exec(t, `CREATE SCHEMA terraform_postgres; CREATE TABLE terraform_postgres.stage (in_the_way int)`)
	if err := theLedger.Ensure(t.Context(), db); err == nil {
		t.Error("the ledger was created over somebody's table")
	}
	held := pgtest.QueryRow[int](t, database, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'`)
	if held != 0 {
		t.Errorf("%d advisory locks were left behind", held)
	}
	database.Exec(t, `DROP TABLE terraform_postgres.stage`)
	ensure(t, db)
}

func TestMissingPrivilegesNameTheGrant(t *testing.T) {
	database := pgtest.NewDatabase(t)
	ensure(t, open(t, database))
	other := "other " + database.Name
	super := func(sql string) {
		t.Helper()
		if _, err := database.Super.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	super(fmt.Sprintf(`CREATE ROLE %s ADMIN %s`, pg.Quote(other), pg.Quote(database.OwnerRole)))
	t.Cleanup(func() {
		if _, err := database.Super.Exec(t.Context(), fmt.Sprintf(`DROP OWNED BY %[1]s; DROP ROLE %[1]s`, pg.Quote(other))); err != nil {
			t.Log(err)
		}
	})
	db := pg.Open(pg.Settings{ConnectionString: database.ConnString(), Role: other})
	t.Cleanup(db.Close)
	check := func() error {
		return db.Look(t.Context(), func(tx pgx.Tx) error { return theLedger.CheckPrivileges(t.Context(), tx) })
	}
	for _, grant := range []string{
		fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA \"terraform_postgres\" TO %s;", pg.Quote(other)),
		fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"terraform_postgres\" TO %s;", pg.Quote(other)),
	} {
		if err := check(); err == nil || !strings.Contains(err.Error(), grant) {
			t.Errorf("CheckPrivileges = %v, want %s", err, grant)
		}
		super(grant)
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	if err := theLedger.Ensure(t.Context(), db); err != nil {
		t.Error(err)
	}
	inTx(t, db, func(tx pgx.Tx) error { return theLedger.Put(t.Context(), tx, newStage("public.t/a")) })
}

func newStage(key string) *ledger.Stage {
	return &ledger.Stage{
		Kind: ledger.BatchedBackfill, Key: key, TableOID: 1, Table: pg.TableName{Schema: "public", Name: "t"},
		Spec: json.RawMessage(`{}`), Reads: []int16{1}, Writes: []int16{2}, Status: ledger.Running,
	}
}

func TestLeaseFencesOffItsFormerHolder(t *testing.T) {
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	stage := newStage("public.t/a")
	segment := ledger.Segment{Relation: 7, Filenode: 8, First: 0, End: 100, High: ledger.HashRange}
	var first, second ledger.Lease
	inTx(t, db, func(tx pgx.Tx) (err error) {
		if err := theLedger.Put(t.Context(), tx, stage); err != nil {
			return err
		}
		if first, err = theLedger.TakeLease(t.Context(), tx, stage.ID, "the first"); err != nil {
			return err
		}
		return theLedger.AddSegments(t.Context(), tx, first, []ledger.Segment{segment})
	})
	take := func() error {
		return db.Tx(t.Context(), pgx.TxOptions{}, nil, func(tx pgx.Tx) (err error) {
			second, err = theLedger.TakeLease(t.Context(), tx, stage.ID, "the second")
			return err
		})
	}
	var held *ledger.LeaseHeldError
	if err := take(); !errors.As(err, &held) || held.Holder != "the first" || held.Expires <= 0 || held.Expires > ledger.LeaseTTL {
		t.Fatalf("TakeLease of a lease that is held = %v, %+v", err, held)
	}
	database.Exec(t, `UPDATE terraform_postgres.backfill SET lease_expires_at = now() - interval '1 second'`)
	if err := take(); err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]func(tx pgx.Tx, lease ledger.Lease) error{
		"Heartbeat": func(tx pgx.Tx, l ledger.Lease) error {
			_, err := theLedger.Heartbeat(t.Context(), tx, l, ledger.Report{})
			return err
		},
		"Checkpoint": func(tx pgx.Tx, l ledger.Lease) error { return theLedger.Checkpoint(t.Context(), tx, l, segment, 5) },
		"CheckpointSweep": func(tx pgx.Tx, l ledger.Lease) error {
			return theLedger.CheckpointSweep(t.Context(), tx, l, 5)
		},
		"SetPhase": func(tx pgx.Tx, l ledger.Lease) error {
			return theLedger.SetPhase(t.Context(), tx, l, ledger.PhaseSweep, "")
		},
		"Finish": func(tx pgx.Tx, l ledger.Lease) error { return theLedger.Finish(t.Context(), tx, l, nil) },
	} {
		err := db.Tx(t.Context(), pgx.TxOptions{}, nil, func(tx pgx.Tx) error { return use(tx, first) })
		if !errors.Is(err, ledger.ErrLeaseLost) {
			t.Errorf("%s by the former holder = %v, want ErrLeaseLost", name, err)
		}
	}
	inTx(t, db, func(tx pgx.Tx) error {
		segment.Next = 40
		if err := theLedger.Checkpoint(t.Context(), tx, second, segment, 5); err != nil {
			return err
		}
		p, err := theLedger.Progress(t.Context(), tx, stage.Key)
		if err == nil && (p.RowsUpdated != 5 || p.PagesDone != 40) {
			t.Errorf("progress = %+v, want the 5 rows and 40 pages of the new holder", p)
		}
		return errors.Join(err, theLedger.Finish(t.Context(), tx, second, nil))
	})
	status := pgtest.QueryRow[string](t, database, `SELECT status || ' ' || rows_updated || ' ' || percent FROM terraform_postgres.progress`)
	if status != "complete 5 100" {
		t.Errorf("progress = %q", status)
	}
}

func TestContractRetiresWhatItTakesAwayFrom(t *testing.T) {
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	reader, other := newStage("public.t/reads-1"), newStage("public.t/reads-3")
	other.Reads = []int16{3}
	contract := &ledger.Stage{
		Kind: ledger.ColumnContract, Key: "public.t/one", TableOID: 1, Table: reader.Table, Spec: json.RawMessage(`{}`),
		Writes: []int16{1}, Status: ledger.Complete,
	}
	retired := func() (keys string) {
		inTx(t, db, func(tx pgx.Tx) error {
			stages, err := theLedger.StagesOf(t.Context(), tx, 1)
			for _, s := range stages {
				if s.Retired() {
					keys += s.Key
				}
			}
			return err
		})
		return keys
	}
	inTx(t, db, func(tx pgx.Tx) error {
		return errors.Join(theLedger.Put(t.Context(), tx, reader), theLedger.Put(t.Context(), tx, other), theLedger.Put(t.Context(), tx, contract),
			theLedger.Retire(t.Context(), tx, contract, []int16{1}))
	})
	if got := retired(); got != reader.Key {
		t.Errorf("retired: %q, want %q", got, reader.Key)
	}
	inTx(t, db, func(tx pgx.Tx) error { return theLedger.ReinstateKind(t.Context(), tx, contract.ID, reader.Kind) })
	if got := retired(); got != "" {
		t.Errorf("still retired: %q", got)
	}
}
