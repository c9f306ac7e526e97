package usage_test

import (
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

// TestOwnStatements lets the provider work with the columns. The services use the same role.
func TestOwnStatements(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t, counting(t, map[string]string{"pg_stat_statements.track": "all"}))
	db.Exec(t, `CREATE TABLE users (id bigint PRIMARY KEY, full_name text, first_name text)`)
	db.Exec(t, `INSERT INTO users SELECT i, 'First' || i || ' Last' FROM generate_series(1, 1000) AS i`)
	env := stagetest.NewEnv(t, db.ConnString())
	forward := map[string]string{"first_name": "split_part(full_name, ' ', 1)"}
	sync := &dualwrite.Spec{
		ID: dualwrite.ID(users, forward), Table: users, Forward: forward, Reverse: map[string]string{"full_name": "first_name"},
		Conflict: dualwrite.KeepBoth, Schema: ledger.DefaultSchema,
	}
	fill := &backfill.Spec{ID: backfill.ID(users, forward), Table: users, Set: forward, Options: backfill.Options{Workers: 1}}
	if _, err := sync.Check(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if _, err := sync.Apply(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if _, err := fill.Check(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if _, err := fill.Apply(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `UPDATE users SET full_name = 'Ann Lee' WHERE id = 1`)
	report := look(t, db, "full_name")
	for _, s := range report.Statements {
		switch s.Query {
		case "UPDATE users SET full_name = $1 WHERE id = $2", "INSERT INTO users SELECT i, $1 || i || $2 FROM generate_series($3, $4) AS i":
		default:
			t.Errorf("a statement of the provider (certain: %t): %s", s.Certain, s.Query)
		}
	}
	expectGap(t, report, "")
}

// TestEventTriggers has one that refuses functions: nothing can be resolved then.
func TestEventTriggers(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t, counting(t, nil))
	db.Exec(t, tables)
	super(t, db, `CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no functions today''; END'`)
	super(t, db, `CREATE EVENT TRIGGER refuse ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION refuse()`)
	role := newRole(t, db)
	run(t, db, role, `SELECT full_name FROM users`, `SELECT email FROM users`)
	if got := uses(look(t, db, "full_name"), role); got != "possible" {
		t.Errorf("%q, want one possible statement", got)
	}
}

// TestQuarantinedColumn asks for a column by the name that it had.
func TestQuarantinedColumn(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t, counting(t, nil))
	db.Exec(t, tables)
	env := stagetest.NewEnv(t, db.ConnString())
	if err := env.Ledger.Ensure(t.Context(), env.DB); err != nil {
		t.Fatal(err)
	}
	err := env.DB.Tx(t.Context(), pgx.TxOptions{}, nil, func(tx pgx.Tx) error {
		return env.Ledger.Put(t.Context(), tx, &ledger.Stage{
			Kind: ledger.ColumnContract, Key: "public.users/full_name", TableOID: pgtest.QueryRow[uint32](t, db, `SELECT 'users'::regclass::oid`),
			Table: users, Spec: json.RawMessage("{}"), Writes: []int16{2}, Status: ledger.Complete,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `ALTER TABLE users RENAME full_name TO full_name__quarantined`)
	role := newRole(t, db)
	run(t, db, role, `SELECT * FROM users`, `SELECT email FROM users`)
	report := look(t, db, "full_name")
	if got := uses(report, role); got != "reads [full_name] writes []" {
		t.Errorf("in quarantine: %q", got)
	}
	if len(report.Away) != 1 {
		t.Errorf("taken away: %v", report.Away)
	}
	db.Exec(t, `ALTER TABLE users DROP full_name__quarantined CASCADE`)
	if got := uses(look(t, db, "full_name"), role); got != "" {
		t.Errorf("dropped: %q", got)
	}
}
