package expand_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/expand"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// A trigger that reads or writes a column would fail every write once the column is dropped.
func TestColumnsThatASyncKeepsAreNotDropped(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE users (id bigint PRIMARY KEY, old text)`)
	env, table := stagetest.NewEnv(t, db.ConnString()), pg.TableName{Schema: "public", Name: "users"}
	added := &expand.Spec{ID: "public.users/fresh", Table: table, Columns: map[string]expand.Column{"fresh": {Type: "text"}}, ForceDestroy: true}
	if _, err := added.Apply(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	sync := &dualwrite.Spec{
		ID: "public.users/fresh", Table: table, Forward: map[string]string{"fresh": "old"}, Reverse: map[string]string{"old": "fresh"},
		Conflict: dualwrite.KeepBoth, Schema: ledger.DefaultSchema,
	}
	if _, err := sync.Apply(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	refused := func(first string) {
		t.Helper()
		var f *finding.Finding
		_, err := added.Revert(t.Context(), env)
		if !errors.As(err, &f) || f.Summary != "Column public.users.fresh is kept by the sync public.users/fresh" || !strings.Contains(f.Detail, first) {
			t.Errorf("revert: %v", err)
		}
		db.Exec(t, `INSERT INTO users (id, fresh) VALUES ((SELECT count(*) FROM users), 'x')`)
	}
	refused("Destroy the sync public.users/fresh first")
	quarantine := &contract.Spec{
		ID: "public.users/old", Table: table, Columns: []string{"old"}, Mode: contract.Quarantine, WritersMigrated: true, Schema: ledger.DefaultSchema,
	}
	if _, err := quarantine.Apply(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	refused("Destroy the contract that has retired the sync first")
	if _, err := quarantine.Revert(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if _, err := sync.Revert(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if _, err := added.Revert(t.Context(), env); err != nil {
		t.Errorf("revert without the sync: %v", err)
	}
}
