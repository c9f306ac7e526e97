package preflight_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/preflight"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

func TestLookReadsTheTable(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db)
	super(t, db, "GRANT pg_monitor TO "+pg.Quote(db.OwnerRole))
	for _, s := range []string{
		`ALTER TABLE users ADD COLUMN gone int, ADD COLUMN team_id int, ADD COLUMN doubled int GENERATED ALWAYS AS (visits * 2) STORED`,
		`ALTER TABLE users DROP COLUMN gone`,
		`CREATE TABLE teams (id int PRIMARY KEY)`,
		`CREATE TABLE "Or ders" (user_id bigint CONSTRAINT buyer REFERENCES users)`,
		`ALTER TABLE users ADD CONSTRAINT team FOREIGN KEY (team_id) REFERENCES teams, ADD CONSTRAINT positive CHECK (visits >= 0), SET (fillfactor = 80)`,
		`CREATE INDEX lower_name ON users (lower(full_name)) WHERE email IS NOT NULL`,
		`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
		`CREATE FUNCTION names() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN count(*) FROM users; END'`,
		`CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()`,
		`ALTER TABLE users DISABLE TRIGGER touch`,
		`CREATE VIEW people AS SELECT count(*) FROM users`,
		`CREATE MATERIALIZED VIEW mails AS SELECT email FROM users`,
		`CREATE POLICY mine ON users FOR SELECT TO PUBLIC USING (visits > 0)`,
		`CREATE PUBLICATION feed FOR TABLE users WITH (publish = 'insert')`,
		`VACUUM ANALYZE users`,
	} {
		db.Exec(t, s)
	}
	var r *preflight.Report
	const patience = time.Minute // Before version 15, statistics come late.
	for deadline := time.Now().Add(patience); r == nil || r.Size.LastVacuum == nil || r.Size.LastAnalyze == nil; time.Sleep(20 * time.Millisecond) {
		if r = look(t, db, preflight.DefaultLimits); time.Now().After(deadline) {
			t.Fatalf("no time of the last vacuum within %s: %+v", patience, r.Size)
		}
	}
	equal := func(what string, got, want any) {
		t.Helper()
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
			t.Errorf("%s: %s, want %s", what, g, w)
		}
	}
	equal("owner", r.Owner, db.OwnerRole)
	equal("role", r.Role, preflight.Role{
		Name: db.OwnerRole, SessionUser: db.OwnerRole, OwnsTable: true, MaySelect: true, MayUpdate: true, Monitors: true,
	})
	equal("kind", []any{r.Kind, r.Partitions, r.Children, r.Unlogged, r.ReplicaIdentity, r.ColumnSlotsLeft, r.PrimaryKey},
		[]any{"table", 0, 0, false, "default", 1593, []string{"id"}})
	equal("wal_level", r.Server.WALLevel, "replica")
	s := r.Size
	equal("size", []any{*s.EstimatedRows, s.FillFactor, s.Autovacuum, s.Stale, s.LastAutovacuum == nil}, []any{20, 80, true, false, true})
	if s.HeapBytes < 8192 || s.IndexBytes < 16384 || s.ToastBytes < 8192 || *s.RowBytes < 20 {
		t.Errorf("size %+v", s)
	}
	var columns []string
	for _, c := range r.Columns {
		columns = append(columns, fmt.Sprintf("%s %s %v %q %q %v", c.Name, c.Type, c.NotNull, c.Identity, c.Generated, c.Indexed))
	}
	equal("columns", columns, []string{
		`id bigint true "always" "" true`, `full_name text true "" "" true`, `email text false "" "" true`, `visits integer false "" "" false`,
		`team_id integer false "" "" false`, `doubled integer false "" "stored" false`,
	})
	equal("null fraction", *r.Columns[2].NullFraction, 0.5)
	equal("default", *r.Columns[3].Default, "0")
	equal("indexes", len(r.Indexes), 2)
	if i := r.Indexes[0]; i.Name != "lower_name" || i.Unique || !i.Valid || !strings.Contains(*i.Definition, "lower(full_name)") || i.Bytes == 0 {
		t.Errorf("index %+v", i)
	}
	equal("constraints", r.Constraints, []preflight.Constraint{
		{Name: "positive", Type: "check", Validated: true, Definition: "CHECK ((visits >= 0))"},
		{Name: "users_pkey", Type: "primary key", Validated: true, Definition: "PRIMARY KEY (id)"},
	})
	equal("foreign keys", r.ForeignKeys, []preflight.ForeignKey{{
		Name: "team", Table: "public.teams", Validated: true, Definition: "FOREIGN KEY (team_id) REFERENCES teams(id)",
	}})
	equal("references", r.ReferencedBy, []preflight.ForeignKey{{
		Name: "buyer", Table: `public."Or ders"`, Validated: true, Definition: "FOREIGN KEY (user_id) REFERENCES users(id)",
	}})
	if len(r.Triggers) != 1 || r.Triggers[0].Name != "touch" || r.Triggers[0].Enabled != "disabled" || r.Triggers[0].Function != "public.touch" {
		t.Errorf("triggers %+v", r.Triggers)
	}
	if len(r.Policies) != 1 || r.Policies[0].Command != "SELECT" || *r.Policies[0].Using != "(visits > 0)" || !slices.Equal(r.Policies[0].Roles, []string{"PUBLIC"}) {
		t.Errorf("policies %+v", r.Policies)
	}
	equal("dependants", r.Dependants, []preflight.Dependant{{"materialized view", "public.mails"}, {"view", "public.people"}, {"function", "names()"}})
	equal("publications", r.Publications, []preflight.Publication{{Name: "feed"}})
	equal("hazards", hazards(r), []preflight.HazardType{preflight.LogicalReplication})
}

func TestLookAtPartitions(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	for _, s := range []string{
		`CREATE TABLE users (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)`,
		`CREATE TABLE users_1 PARTITION OF users FOR VALUES FROM (1) TO (11)`,
		`CREATE TABLE users_2 PARTITION OF users FOR VALUES FROM (11) TO (31) PARTITION BY RANGE (id)`,
		`CREATE TABLE users_2a PARTITION OF users_2 FOR VALUES FROM (11) TO (31)`,
		`INSERT INTO users SELECT i, repeat('n', 10) FROM generate_series(1, 30) AS i`,
		`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
		`CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()`,
		`CREATE PUBLICATION feed FOR TABLE users`,
		`VACUUM ANALYZE users`,
	} {
		db.Exec(t, s)
	}
	r := look(t, db, preflight.DefaultLimits)
	if r.Kind != "partitioned table" || r.Partitions != 2 || *r.Size.EstimatedRows != 30 || r.Size.HeapBytes != 2*8192 || len(r.Triggers) != 1 ||
		len(r.Indexes) != 1 || r.Indexes[0].Bytes != 4*8192 || r.Columns[1].AverageBytes == nil {
		t.Errorf("the parent: %+v", r)
	}
	for name, parent := range map[string]string{"users_1": "public.users", "users_2a": "public.users_2"} {
		r, err := preflight.Look(t.Context(), stagetest.NewEnv(t, db.ConnString()), pg.TableName{Schema: "public", Name: name}, preflight.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != "partition" || *r.PartitionOf != parent || len(r.Inherits) > 0 || len(r.Triggers) != 1 || len(r.Publications) != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestUnseenSaysHowToSee looks as a role that may do nothing, gives it what the report asks for, and looks again.
func TestUnseenSaysHowToSee(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db)
	env := stagetest.NewEnv(t, db.ConnString())
	if err := env.Ledger.Ensure(t.Context(), env.DB); err != nil {
		t.Fatal(err)
	}
	role, guest := newRole(t, db)
	r := lookAs(t, guest, preflight.DefaultLimits)
	if len(r.Unseen) != 3 || r.Role.OwnsTable || r.Role.MayUpdate || r.Columns[0].AverageBytes != nil {
		t.Errorf("unseen %q, role %+v", r.Unseen, r.Role)
	}
	for _, want := range []preflight.HazardType{preflight.NotOwner, preflight.NoUpdatePrivilege} {
		if !strings.Contains(message(r, want), role) {
			t.Errorf("no %s among %v", want, r.Hazards)
		}
	}
	if got := hazards(look(t, db, preflight.DefaultLimits)); slices.Contains(got, preflight.NotOwner) || slices.Contains(got, preflight.NoUpdatePrivilege) {
		t.Errorf("the owner has hazards %v", got)
	}
	for _, line := range r.Unseen {
		_, grant, _ := strings.Cut(line, ": GRANT ")
		super(t, db, "GRANT "+grant)
	}
	if r = lookAs(t, guest, preflight.DefaultLimits); len(r.Unseen) > 0 || r.Columns[0].AverageBytes == nil {
		t.Errorf("still unseen: %q", r.Unseen)
	}
}

// TestLookWaitsForNobody looks while somebody holds the lock that keeps even readers out.
func TestLookWaitsForNobody(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db)
	db.Exec(t, `CREATE POLICY mine ON users USING (visits > 0)`)
	open("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")(t, db)
	r := look(t, db, sensitive())
	if r.Ready() || !contains(r.Blockers, "holds AccessExclusiveLock on public.users") {
		t.Errorf("ready %v, blockers %v", r.Ready(), r.Blockers)
	}
	for _, part := range []string{"Sizes other than those of the last vacuum", "Defaults of columns", "Definitions of indexes", "Expressions of policies"} {
		if !contains(r.Unseen, part) {
			t.Errorf("unseen lacks %q: %q", part, r.Unseen)
		}
	}
	if !r.Size.Stale || r.Size.HeapBytes != 8192 || len(r.Indexes) != 1 || r.Indexes[0].Definition != nil || len(r.Columns) != 4 || len(r.Policies) != 1 {
		t.Errorf("size %+v, indexes %+v, columns %+v, policies %+v", r.Size, r.Indexes, r.Columns, r.Policies)
	}
}

// TestQueueIsInTheWay looks while somebody waits for a lock: others line up behind.
func TestQueueIsInTheWay(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db)
	open("SELECT FROM users")(t, db)
	background(t, db.ConnString(), []string{"SET application_name = 'the migration'"}, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE; SELECT 1")
	const patience = time.Minute
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		r := look(t, db, sensitive())
		if contains(r.Blockers, `application "the migration"`) && contains(r.Blockers, "waits for AccessExclusiveLock") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s, blockers %v", patience, r.Blockers)
		}
	}
}

func TestNoTable(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE "Users" (id int)`)
	env := stagetest.NewEnv(t, db.ConnString())
	_, err := preflight.Look(t.Context(), env, users, preflight.DefaultLimits)
	if !errors.Is(err, pg.ErrNoTable) || !strings.Contains(err.Error(), `public."Users"`) {
		t.Errorf("the error is %v", err)
	}
	db.Exec(t, `CREATE VIEW users AS SELECT 1`)
	if _, err := preflight.Look(t.Context(), env, users, preflight.DefaultLimits); err == nil || !strings.Contains(err.Error(), "is a view, not a table") {
		t.Errorf("the error is %v", err)
	}
}
