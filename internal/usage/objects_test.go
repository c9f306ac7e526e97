package usage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

func TestObjects(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TABLE team (name text PRIMARY KEY);
		CREATE TABLE users (id bigint PRIMARY KEY, full_name text UNIQUE REFERENCES team, email text, CHECK (full_name <> ''));
		CREATE TABLE child (full_name text REFERENCES users (full_name));
		CREATE INDEX by_both ON users (email, full_name);
		CREATE STATISTICS together ON email, full_name FROM users;
		CREATE VIEW shown AS SELECT full_name FROM users;
		CREATE MATERIALIZED VIEW kept AS SELECT full_name FROM users;
		CREATE VIEW other AS SELECT email FROM users;
		CREATE POLICY own ON users USING (full_name = current_user);
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.full_name := 1; RETURN NEW; END';
		CREATE TRIGGER changed BEFORE UPDATE OF full_name ON users FOR EACH ROW EXECUTE FUNCTION note();
		CREATE FUNCTION parsed() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT full_name FROM users; END;`)
	var got []string
	for _, o := range look(t, db, "full_name").Objects {
		got = append(got, fmt.Sprintf("%s: %s", o.Effect, o))
	}
	want := []string{
		"blocks: function public.parsed()",
		"blocks: policy own on public.users",
		"blocks: table constraint child_full_name_fkey on public.child",
		"blocks: trigger changed on public.users",
		"blocks: view public.kept",
		"blocks: view public.shown",
		"dropped: index public.by_both",
		"dropped: statistics object public.together",
		"dropped: table constraint users_full_name_check on public.users",
		"dropped: table constraint users_full_name_fkey on public.users",
		"dropped: table constraint users_full_name_key on public.users",
		"mentions: function note()",
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPrivileges(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabaseOn(t, counting(t, nil))
	db.Exec(t, tables)
	role := newRole(t, db)
	db.Exec(t, fmt.Sprintf(`REVOKE ALL ON users FROM %[1]s; GRANT SELECT, DELETE ON users TO PUBLIC;
		GRANT SELECT (full_name, email), UPDATE (full_name), INSERT (email) ON users TO %[1]s`, role))
	want := []usage.Privilege{{"PUBLIC", "SELECT", ""}, {role, "SELECT", "full_name"}, {role, "UPDATE", "full_name"}}
	if got := look(t, db, "full_name").Privileges; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestUnknownColumn(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, tables)
	env := stagetest.NewEnv(t, db.ConnString())
	_, err := usage.Look(t.Context(), env, users, []string{"fullname"})
	if err == nil || !strings.Contains(err.Error(), "Column public.users.fullname does not exist") {
		t.Errorf("a typing error gives %v", err)
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t, counting(t, nil))
	db.Exec(t, `CREATE TABLE users (id bigint PRIMARY KEY, full_name text, first_name text)`)
	env := stagetest.NewEnv(t, db.ConnString())
	forward := map[string]string{"first_name": "split_part(full_name, ' ', 1)"}
	sync := &dualwrite.Spec{
		ID: dualwrite.ID(users, forward), Table: users, Forward: forward, Reverse: map[string]string{"full_name": "first_name"},
		Conflict: dualwrite.KeepBoth, Schema: ledger.DefaultSchema,
	}
	if _, err := sync.Apply(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	role := newRole(t, db)
	run(t, db, role, `SET application_name = 'billing'; INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`)
	report := look(t, db, "full_name")
	legacy := report.Legacy()
	if len(legacy) != 1 || legacy[0].ApplicationName != "billing" || legacy[0].Role != role || legacy[0].Sync != sync.ID {
		t.Fatalf("writers: %+v", legacy)
	}
	if report.WatchedSince == nil {
		t.Error("the sync watches, but since when is not known")
	}
	if len(report.Objects) > 0 {
		t.Errorf("the sync's own function is among %v", report.Objects)
	}
	expectGap(t, report, "")
	for _, want := range []string{"billing, role " + role, "last seen 20", "Statements that use the columns (1; 1 of them ran since 20"} {
		if !strings.Contains(report.Summary(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, report.Summary())
		}
	}
	db.Exec(t, `ALTER TABLE users DISABLE TRIGGER USER`)
	if report := look(t, db, "full_name"); report.WatchedSince != nil || len(report.Legacy()) != 1 {
		t.Errorf("with the trigger disabled: watched since %v, %d writers", report.WatchedSince, len(report.Legacy()))
	}
}
