package backfill_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// createNoted makes the function note of a trigger, which adds a row to the table noted whenever it is called.
const createNoted = `
	CREATE TABLE noted (id bigint);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
	  INSERT INTO noted VALUES (1);
	  RETURN NEW;
	END $$;`

// forecast returns what a plan says of the backfill.
func forecast(t *testing.T, db *pgtest.Database, spec *backfill.Spec) string {
	t.Helper()
	warnings, err := spec.Check(t.Context(), newEnv(t, db.ConnString()))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		if strings.HasPrefix(w.Summary, "Backfill of") {
			return w.Detail
		}
	}
	t.Fatalf("no forecast among %v", warnings)
	return ""
}

func TestForecastListsTheTriggersThatFire(t *testing.T) {
	t.Parallel()
	const note = ` FOR EACH ROW EXECUTE FUNCTION note()`
	for name, c := range map[string]struct {
		setup string
		quiet bool
		want  string // "" when none is listed
	}{
		"before each row":      {setup: `CREATE TRIGGER tr BEFORE UPDATE ON people` + note, want: "tr, which calls note(): before each row; it may change what is written"},
		"after each row":       {setup: `CREATE TRIGGER tr AFTER INSERT OR UPDATE ON people` + note, want: "tr, which calls note(): after each row; it may write elsewhere"},
		"once for a statement": {setup: `CREATE TRIGGER tr AFTER UPDATE ON people EXECUTE FUNCTION note()`, want: "tr, which calls note(): once for each batch"},
		"constraint trigger":   {setup: `CREATE CONSTRAINT TRIGGER tr AFTER UPDATE ON people DEFERRABLE` + note, want: "tr, which calls note(): for each row; it may refuse it"},
		"of a target":          {setup: `CREATE TRIGGER tr BEFORE UPDATE OF n ON people` + note, want: "tr"},
		"of another column":    {setup: `CREATE TRIGGER tr BEFORE UPDATE OF body ON people` + note},
		"of what is generated from it": {
			setup: `ALTER TABLE people ADD g bigint GENERATED ALWAYS AS (n) STORED; CREATE TRIGGER tr BEFORE UPDATE OF g ON people` + note, want: "tr",
		},
		"insert":                  {setup: `CREATE TRIGGER tr BEFORE INSERT OR DELETE ON people` + note},
		"disabled":                {setup: `CREATE TRIGGER tr BEFORE UPDATE ON people` + note + `; ALTER TABLE people DISABLE TRIGGER tr`},
		"replica":                 {setup: `CREATE TRIGGER tr BEFORE UPDATE ON people` + note + `; ALTER TABLE people ENABLE REPLICA TRIGGER tr`},
		"always":                  {setup: `CREATE TRIGGER tr BEFORE UPDATE ON people` + note + `; ALTER TABLE people ENABLE ALWAYS TRIGGER tr`, want: "ENABLE ALWAYS TRIGGER tr;"},
		"quiet":                   {setup: `CREATE TRIGGER tr BEFORE UPDATE ON people` + note, quiet: true},
		"quiet and replica":       {setup: `CREATE TRIGGER tr BEFORE UPDATE ON people` + note + `; ALTER TABLE people ENABLE REPLICA TRIGGER tr`, quiet: true, want: "in spite of fire_triggers = false"},
		"quiet and always":        {setup: `CREATE TRIGGER tr BEFORE UPDATE ON people` + note + `; ALTER TABLE people ENABLE ALWAYS TRIGGER tr`, quiet: true, want: "in spite of fire_triggers = false"},
		"foreign keys":            {setup: `ALTER TABLE people ADD UNIQUE (n); CREATE TABLE child (n bigint REFERENCES people (n))`},
		"of the ledger's schema":  {setup: `CREATE SCHEMA terraform_postgres; ALTER FUNCTION note() SET SCHEMA terraform_postgres; CREATE TRIGGER tr BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION terraform_postgres.note()`},
		"name that needs quoting": {setup: `CREATE TRIGGER "The one" BEFORE UPDATE ON people` + note, want: `"The one", which calls note()`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, 10)
			db.Exec(t, createNoted+c.setup)
			spec := peopleSpec()
			if spec.QuietTriggers = c.quiet; c.quiet {
				allowQuiet(t, db)
			}
			text := forecast(t, db, spec)
			if listed := strings.Contains(text, "These triggers fire"); listed != (c.want != "") || !strings.Contains(text, c.want) {
				t.Errorf("the forecast should have %q:\n%s", c.want, text)
			}
		})
	}
}

// The triggers of a partitioned table are those of its leaves, each once.
func TestForecastListsTheTriggersOfPartitions(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createOrders(t, db, 10)
	db.Exec(t, createNoted+`
		CREATE TRIGGER everywhere BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note();
		CREATE TRIGGER statement AFTER UPDATE ON orders EXECUTE FUNCTION note();
		CREATE TRIGGER one BEFORE UPDATE ON orders_2026 FOR EACH ROW EXECUTE FUNCTION note();`)
	text := forecast(t, db, ordersSpec())
	if strings.Count(text, "everywhere, which calls") != 1 || !strings.Contains(text, "BEFORE UPDATE ON public.orders FOR EACH ROW") {
		t.Errorf("a trigger of the parent is not listed once:\n%s", text)
	}
	if strings.Contains(text, "statement, which calls") {
		t.Errorf("a trigger of the parent's own statements is listed, although a batch names the leaf:\n%s", text)
	}
	if !strings.Contains(text, "It is on public.orders_2026") {
		t.Errorf("the trigger of one leaf is not listed as such:\n%s", text)
	}
}

// The statements of the forecast make triggers pass over the rows of the backfill, and of nobody else.
func TestTriggersPassOverTheBackfillAsTheForecastSays(t *testing.T) {
	t.Parallel()
	for name, trigger := range map[string]string{
		"plain":                 `CREATE TRIGGER tr BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note()`,
		"with a condition":      `CREATE TRIGGER tr BEFORE UPDATE ON people FOR EACH ROW WHEN (new.id > 0 OR old.n > 0) EXECUTE FUNCTION note()`,
		"always":                `CREATE TRIGGER tr BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE people ENABLE ALWAYS TRIGGER tr`,
		"constraint":            `CREATE CONSTRAINT TRIGGER tr AFTER UPDATE ON people DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()`,
		"statement":             `CREATE TRIGGER tr AFTER UPDATE ON people EXECUTE FUNCTION note()`,
		"with a name and words": `CREATE TRIGGER "Tr One" BEFORE UPDATE OF n ON people FOR EACH ROW EXECUTE FUNCTION note('a word')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const rows = 100
			db := pgtest.NewDatabase(t)
			createPeople(t, db, rows)
			db.Exec(t, createNoted+trigger)
			spec := peopleSpec()
			text := forecast(t, db, spec)
			_, statements, found := strings.Cut(text, "by its condition:\n\n")
			if !found {
				t.Fatalf("no statement in\n%s", text)
			}
			db.Exec(t, statements)
			if text := forecast(t, db, spec); strings.Contains(text, "These triggers") {
				t.Errorf("a trigger that passes over the backfill is listed:\n%s", text)
			}
			apply(t, newEnv(t, db.ConnString()), spec)
			expectNone(t, db, "rows of the backfill fired the trigger", `SELECT count(*) FROM noted`)
			db.Exec(t, `UPDATE people SET n = 0 WHERE id = 1`)
			if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM noted`); n != 1 {
				t.Errorf("an update of a service fired the trigger %d times", n)
			}
		})
	}
}

// allowQuiet lets the owner switch triggers off.
func allowQuiet(t *testing.T, db *pgtest.Database) {
	t.Helper()
	owner := pgx.Identifier{db.OwnerRole}.Sanitize()
	allow, forbid := `GRANT SET ON PARAMETER session_replication_role TO `+owner, `REVOKE SET ON PARAMETER session_replication_role FROM `+owner
	if pgtest.QueryRow[bool](t, db, `SELECT current_setting('server_version_num')::int < 150000`) {
		allow, forbid = `ALTER ROLE `+owner+` SUPERUSER`, `ALTER ROLE `+owner+` NOSUPERUSER`
	}
	if _, err := db.Super.Exec(t.Context(), allow); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // A role that has been granted something cannot be dropped.
		if _, err := db.Super.Exec(context.Background(), forbid); err != nil {
			t.Error(err)
		}
	})
}

func TestQuietTriggersNeedTheRight(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 10)
	spec := peopleSpec()
	spec.QuietTriggers = true
	_, err := spec.Check(t.Context(), newEnv(t, db.ConnString()))
	how := `GRANT SET ON PARAMETER session_replication_role TO "` + db.OwnerRole + `";`
	if pgtest.QueryRow[bool](t, db, `SELECT current_setting('server_version_num')::int < 150000`) {
		how = "for superusers"
	}
	expectFinding(t, err, "may not keep the triggers of public.people from firing", how, "WHEN (coalesce(current_setting('terraform_postgres.filling', true), '') = '')")
	allowQuiet(t, db)
	if _, err := spec.Check(t.Context(), newEnv(t, db.ConnString())); err != nil {
		t.Errorf("with the right: %v", err)
	}
}

// The user who logs in may be another than the owner, whose role each transaction takes on.
func TestQuietTriggersUnderARole(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 500)
	db.Exec(t, createNoted+`CREATE TRIGGER tr BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note()`)
	superuser := db.Server.ConnString(db.Name, pgtest.SuperuserRole)
	env, spec := newEnv(t, superuser), peopleSpec()
	env.DB = pg.Open(pg.Settings{ConnectionString: superuser, Role: db.OwnerRole, ConnectTimeout: patience, MaxConnections: 4})
	t.Cleanup(env.DB.Close)
	spec.QuietTriggers = true
	if _, err := spec.Check(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	apply(t, env, spec)
	expectNone(t, db, "wrong rows", wrongPeople)
	expectNone(t, db, "rows fired the trigger", `SELECT count(*) FROM noted`)
}

// What the server would not check without its own triggers keeps them on.
func TestQuietTriggersAreRefusedWhereTheyKeepRowsRight(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ setup, want string }{
		"nothing":                         {``, ""},
		"a key of another column":         {`CREATE TABLE child (id bigint REFERENCES people)`, ""},
		"a unique constraint":             {`ALTER TABLE people ADD UNIQUE (n)`, ""},
		"referencing":                     {`CREATE TABLE parent (n bigint PRIMARY KEY); ALTER TABLE people ADD CONSTRAINT fk FOREIGN KEY (n) REFERENCES parent`, "foreign key fk on public.people"},
		"referenced":                      {`ALTER TABLE people ADD UNIQUE (n); CREATE TABLE child (n bigint CONSTRAINT fk REFERENCES people (n))`, "foreign key fk on public.child, which refers to public.people"},
		"a key of what is generated":      {`CREATE TABLE parent (n bigint PRIMARY KEY); ALTER TABLE people ADD g bigint GENERATED ALWAYS AS (n) STORED CONSTRAINT fk REFERENCES parent`, "foreign key fk on public.people"},
		"a deferrable unique constraint":  {`ALTER TABLE people ADD CONSTRAINT u UNIQUE (n) DEFERRABLE`, "deferrable constraint u on public.people"},
		"a constraint trigger":            {`CREATE CONSTRAINT TRIGGER tr AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note()`, "constraint trigger tr on public.people"},
		"a constraint trigger elsewhere":  {`CREATE CONSTRAINT TRIGGER tr AFTER UPDATE OF body ON people FOR EACH ROW EXECUTE FUNCTION note()`, ""},
		"a disabled constraint trigger":   {`CREATE CONSTRAINT TRIGGER tr AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE people DISABLE TRIGGER tr`, ""},
		"a constraint trigger for always": {`CREATE CONSTRAINT TRIGGER tr AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE people ENABLE ALWAYS TRIGGER tr`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, 10)
			db.Exec(t, createNoted+c.setup)
			allowQuiet(t, db)
			spec := peopleSpec()
			spec.QuietTriggers = true
			_, err := spec.Check(t.Context(), newEnv(t, db.ConnString()))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			expectFinding(t, err, "Backfill of public.people (n) needs triggers that fire_triggers = false switches off", "  - "+c.want)
		})
	}
}

// A sync of the same columns takes no notice of the backfill. One that reads the target does, and would be switched off.
func TestQuietTriggersAndSyncs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sync    dualwrite.Spec
		refused bool
	}{
		"that fills the same":     {dualwrite.Spec{Forward: map[string]string{"n": "id * 2"}}, false},
		"that reads the target":   {dualwrite.Spec{Forward: map[string]string{"twice": "n * 2"}}, true},
		"that keeps the target":   {dualwrite.Spec{Forward: map[string]string{"twice": "n * 2"}, Reverse: map[string]string{"n": "twice / 2"}}, true},
		"that fires all the same": {dualwrite.Spec{Forward: map[string]string{"twice": "n * 2"}, EnableAlways: true}, false},
		"of other columns":        {dualwrite.Spec{Forward: map[string]string{"twice": "id * 2"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, 10)
			db.Exec(t, `ALTER TABLE people ADD twice bigint`)
			allowQuiet(t, db)
			env, spec := newEnv(t, db.ConnString()), peopleSpec()
			sync := c.sync
			sync.Table, sync.Schema, sync.Conflict = spec.Table, ledger.DefaultSchema, dualwrite.KeepBoth
			sync.ID = dualwrite.ID(sync.Table, sync.Forward)
			if _, err := sync.Apply(t.Context(), env); err != nil {
				t.Fatal(err)
			}
			spec.QuietTriggers = true
			_, err := spec.Check(t.Context(), env)
			if c.refused {
				expectFinding(t, err, "  - postgres_column_sync "+sync.ID)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
