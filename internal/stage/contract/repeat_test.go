package contract_test

import (
	"context"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
	stageexpand "github.com/stagedpg/terraform-provider-postgres/internal/stage/expand"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

// rounds is how often every step is made and undone.
const rounds = 20

// Eight writers at full speed see twenty rounds of every stage and of every undo, and none of them an error.
func TestTwentyRoundsUnderWriters(t *testing.T) {
	db := pgtest.NewDatabase(t)
	if err := pgtest.CreateUsers(t.Context(), db.Owner, 2000); err != nil {
		t.Fatal(err)
	}
	users, err := pgtest.NewUsers(t.Context(), db.Owner, pgtest.OldStyle)
	if err != nil {
		t.Fatal(err)
	}
	writers, err := pgtest.StartWriters(context.WithoutCancel(t.Context()), db.ConnString(), pgtest.WriterOptions{Transaction: users.Transaction})
	if err != nil {
		t.Fatal(err)
	}
	defer writers.Stop()
	env := stagetest.NewEnv(t, db.ConnString())
	env.RetryFor, env.Runner.RetryFor = time.Minute, time.Minute

	columns := &stageexpand.Spec{
		ID: "public.users/first_name,last_name", Table: tableName("users"), ForceDestroy: true,
		Columns: map[string]stageexpand.Column{"first_name": {Type: "text"}, "last_name": {Type: "text"}},
	}
	sync := syncOf("users", map[string]string{"first_name": pgtest.FirstName, "last_name": pgtest.LastName}, map[string]string{"full_name": pgtest.FullName})
	filled := &backfill.Spec{ID: sync.ID, Table: sync.Table, Set: sync.Forward}
	deploy := func(g pgtest.Generation) {
		t.Helper()
		if err := users.SetGeneration(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	do(t, columns.Apply, env)
	undo(t, columns.Revert, env)
	for round := range rounds {
		do(t, columns.Apply, env)
		do(t, sync.Apply, env)
		deploy(pgtest.Generation(1 + round%2)) // dual or new style
		full := round%5 == 4
		if full {
			do(t, filled.Apply, env)
		}
		deploy(pgtest.NewStyle)
		gone := contractOf("users", contract.Quarantine, "full_name")
		if full {
			gone = contractOf("users", contract.Drop, "full_name")
		}
		do(t, gone.Apply, env)
		undo(t, gone.Revert, env)
		deploy(pgtest.OldStyle)
		if full {
			expectUsers(t, db)
			undo(t, filled.Revert, env)
		}
		undo(t, sync.Revert, env)
		undo(t, columns.Revert, env)
	}
	stats := writers.Stop()
	if stats.Errors > 0 {
		t.Errorf("%d of %d transactions failed: %v", stats.Errors, stats.Transactions, stats.FirstErrors)
	}
	if stats.Transactions < 1000 {
		t.Errorf("only %d transactions were made, which proves little", stats.Transactions)
	}
	t.Logf("%d rounds, %d transactions, %.0f a second, longest %s", rounds, stats.Transactions, float64(stats.Transactions)/stats.Elapsed.Seconds(), stats.Max)
}

func do[S any](t *testing.T, apply func(context.Context, *stage.Env) (S, error), env *stage.Env) {
	t.Helper()
	if _, err := apply(t.Context(), env); err != nil {
		t.Fatal(err)
	}
}

func undo[F any](t *testing.T, revert func(context.Context, *stage.Env) (F, error), env *stage.Env) {
	t.Helper()
	if _, err := revert(t.Context(), env); err != nil {
		t.Fatal(err)
	}
}

func expectUsers(t *testing.T, db *pgtest.Database) {
	t.Helper()
	wrong, err := pgtest.CheckUsers(t.Context(), db.Owner)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}
