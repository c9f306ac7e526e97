package provider_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// backfillWith is the backfill of the split with more attributes.
func backfillWith(attributes string) string {
	return strings.TrimSuffix(strings.TrimSpace(backfillName), "}") + attributes + "\n}\n"
}

// optionsInLedger returns what the ledger has for the next run.
func optionsInLedger(t *testing.T, db *pgtest.Database) (options backfill.Options, quiet bool) {
	t.Helper()
	var spec backfill.Spec
	document := pgtest.QueryRow[string](t, db, `SELECT spec::text FROM terraform_postgres.stage WHERE kind = 'batched_backfill'`)
	if err := json.Unmarshal([]byte(document), &spec); err != nil {
		t.Fatal(err)
	}
	return spec.Options, spec.QuietTriggers
}

const allOptions = `
  target_duration     = "250ms"
  max_rows_per_second = 50000
  workers             = 3
  duty_cycle          = 0.9
  apply_budget        = "50m"
  fire_triggers       = true
  windows = [
    { start = "00:00", end = "24:00" },
    { days = ["sat", "sun"], start = "22:00", end = "06:00", time_zone = "Europe/Berlin" },
  ]
  throttle = {
    replica_lag     = "30s"
    sync_lag        = "off"
    slot_retained   = "16GiB"
    archive_backlog = "100"
    dead_rows_share = "15%"
    ignore_replicas = ["delayed"]
    queries         = { incident = "SELECT false" }
    on_unknown      = "continue"
  }
`

func TestBackfillOptionsReachTheLedger(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 500)
	r := newCLIRun(t, db, expandName+backfillWith(allOptions))
	r.apply()
	expectRightNames(t, db, 500)
	o, _ := optionsInLedger(t, db)
	if o.TargetDuration != 250*time.Millisecond || o.MaxRowsPerSecond != 50000 || o.Workers != 3 || o.DutyCycle != 0.9 || o.ApplyBudget != 50*time.Minute {
		t.Errorf("the ledger has %+v", o)
	}
	want := backfill.Window{Days: []time.Weekday{time.Sunday, time.Saturday}, Start: 22 * time.Hour, End: 6 * time.Hour, TimeZone: "Europe/Berlin"}
	if len(o.Windows) != 2 || o.Windows[0].End != 24*time.Hour || o.Windows[0].TimeZone != "UTC" || !equalJSON(t, o.Windows[1], want) {
		t.Errorf("the ledger has the windows %+v", o.Windows)
	}
	if l := o.Throttle; l == nil || l.ReplicaLag != 30*time.Second || l.ReplicaLagBytes != 16<<20 || l.SyncLag != 0 || l.SlotRetained != 16<<30 ||
		l.ArchiveBacklog != 100 || l.DeadRowsShare != 0.15 || l.DeadRows != 1_000_000 || len(l.IgnoreReplicas) != 1 || len(l.Queries) != 1 ||
		l.Queries[0].Name != "incident" || l.OnUnknown != "continue" {
		t.Errorf("the ledger has the limits %+v", l)
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	one, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(one) == string(other)
}

// expectRightNames fails unless all rows are filled.
func expectRightNames(t *testing.T, db *pgtest.Database, rows int) {
	t.Helper()
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE full_name = first_name || ' ' || last_name`); n != rows {
		t.Errorf("%d rows are right, want %d", n, rows)
	}
}

// A change of the options alone is an update that is recorded for the next run, and touches no row.
func TestOptionsOfACompleteBackfillChangeInPlace(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	expect := func(action plancheck.ResourceActionType) resource.ConfigPlanChecks {
		return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
			plancheck.ExpectResourceAction("postgres_batched_backfill.name", action),
		}}
	}
	attributes := resource.ComposeAggregateTestCheckFunc(
		resource.TestCheckResourceAttr("postgres_batched_backfill.name", "status", "complete"),
		resource.TestCheckResourceAttr("postgres_batched_backfill.name", "rows_updated", "100"))
	config := providerBlock(db) + expandName
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: config + backfillWith(""), Check: attributes},
			{
				// A row that needs work: whoever looked at the rows would fill it.
				PreConfig:        func() { db.Exec(t, `INSERT INTO users (full_name) VALUES ('Ann Lee')`) },
				Config:           config + backfillWith(allOptions),
				ConfigPlanChecks: expect(plancheck.ResourceActionUpdate),
				Check:            attributes,
			},
			{Config: config + backfillWith(allOptions), ConfigPlanChecks: expect(plancheck.ResourceActionNoop)},
			{Config: config + backfillWith("workers = 7"), ConfigPlanChecks: expect(plancheck.ResourceActionUpdate), Check: attributes},
		},
	})
}

func TestOptionsOfACompleteBackfillAreRecordedForTheNextRun(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	r := newCLIRun(t, db, expandName+backfillWith(""))
	r.apply()
	db.Exec(t, `INSERT INTO users (full_name) VALUES ('Ann Lee')`)
	r.write("main.tf", expandName+backfillWith("workers = 7\nfire_triggers = false"))
	if planned := r.run(2, "plan", "-detailed-exitcode"); !strings.Contains(planned, `"skips_triggers"`) {
		t.Errorf("the plan does not show the new hazard:\n%s", planned)
	}
	r.apply()
	if o, quiet := optionsInLedger(t, db); o.Workers != 7 || !quiet {
		t.Errorf("the ledger has %+v, without triggers: %t", o, quiet)
	}
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE first_name IS NULL`); n != 1 {
		t.Error("the update filled a row")
	}
	// What the expression says is another matter.
	r.write("main.tf", expandName+strings.Replace(backfillWith(""), "split_part(full_name, ' ', 1)", "upper(split_part(full_name, ' ', 1))", 1))
	r.apply()
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE first_name = 'ANN'`); n != 1 {
		t.Error("the changed expression filled no row")
	}
}

// Options that change while work is left hold for what is left.
func TestOptionsOfAnInterruptedBackfillHoldForTheRest(t *testing.T) {
	t.Parallel()
	db, r := interrupted(t, 4000)
	before := rowsUpdated(t, db)
	r.write("main.tf", expandName+backfillWith("workers = 3"))
	if planned := r.run(2, "plan", "-detailed-exitcode"); !strings.Contains(planned, `"running" -> "complete"`) {
		t.Errorf("the plan says:\n%s", planned)
	}
	r.apply()
	if o, _ := optionsInLedger(t, db); o.Workers != 3 || o.ApplyBudget != 0 || before == 0 {
		t.Errorf("the ledger has %+v; %d rows were done before", o, before)
	}
	expectEachOnce(t, db)
}

// An import leaves out what has a default, as a configuration does.
func TestImportFindsTheOptionsAsTheDefaults(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	r := newCLIRun(t, db, expandName+backfillWith(""))
	r.apply()
	r.run(0, "state", "rm", "postgres_batched_backfill.name")
	r.run(0, "import", "postgres_batched_backfill.name", "public.users/first_name,last_name")
	r.run(0, "plan", "-detailed-exitcode")
}

// TestBadOptionsAreRefusedOffline needs no server: nobody listens there.
func TestBadOptionsAreRefusedOffline(t *testing.T) {
	t.Parallel()
	const nowhere = "provider \"postgres\" {\n  connection_string = \"postgres://nobody@127.0.0.1:1/none?sslmode=disable\"\n}\n"
	window := func(attributes string) string { return "windows = [{ " + attributes + " }]" }
	throttle := func(attributes string) string { return "throttle = { " + attributes + " }" }
	for name, c := range map[string]struct {
		attributes string
		want       []string
	}{
		"duration without a unit":       {`target_duration = "100"`, []string{"100", "duration"}},
		"duration that is too short":    {`target_duration = "1ms"`, []string{"Attribute target_duration is 1ms", "must be between 10ms and 10s"}},
		"duration that is too long":     {`target_duration = "1m"`, []string{"Attribute target_duration is 1m", "must be between 10ms and 10s"}},
		"no rows per second":            {`max_rows_per_second = 0`, []string{"max_rows_per_second", "at least 1"}},
		"no workers":                    {`workers = 0`, []string{"workers", "between 1 and 16"}},
		"too many workers":              {`workers = 17`, []string{"workers", "between 1 and 16"}},
		"no duty":                       {`duty_cycle = 0`, []string{"Attribute duty_cycle is 0", "above 0 and at most 1"}},
		"more than all duty":            {`duty_cycle = 1.5`, []string{"Attribute duty_cycle is 1.5"}},
		"budget below zero":             {`apply_budget = "-5m"`, []string{"Attribute apply_budget is -5m", "at least 1s"}},
		"no windows":                    {`windows = []`, []string{"windows", "at least 1"}},
		"window without an end":         {window(`start = "22:00"`), []string{`"end" is required`}},
		"empty window":                  {window(`start = "22:00", end = "22:00"`), []string{"Window from 22:00 to 22:00 is empty", `start = "00:00"`}},
		"window at no time":             {window(`start = "22:00", end = "6am"`), []string{`Time "6am" is not a time of the day`}},
		"window on no day":              {window(`days = [], start = "22:00", end = "06:00"`), []string{"days", "at least 1"}},
		"window on an unknown day":      {window(`days = ["monday"], start = "22:00", end = "06:00"`), []string{"monday", `"mon"`}},
		"window in an unknown zone":     {window(`start = "22:00", end = "06:00", time_zone = "Berlin"`), []string{`Time zone "Berlin" is not known`, "Europe/Berlin"}},
		"threshold that is no duration": {throttle(`replica_lag = "10"`), []string{`Threshold replica_lag is "10"`, `such as "10s"`, `"off"`}},
		"threshold that is no size":     {throttle(`slot_retained = "10 gallons"`), []string{`Threshold slot_retained is "10 gallons"`, `"16MiB"`}},
		"threshold that is no number":   {throttle(`archive_backlog = "42s"`), []string{`Threshold archive_backlog is "42s"`, `"42"`}},
		"threshold that is no share":    {throttle(`dead_rows_share = "20"`), []string{`Threshold dead_rows_share is "20"`, `"20%"`}},
		"threshold above all":           {throttle(`dead_rows_share = "120%"`), []string{`Threshold dead_rows_share is "120%"`}},
		"threshold of zero":             {throttle(`sync_lag = "0s"`), []string{`Threshold sync_lag is "0s"`, `"off"`}},
		"unknown choice":                {throttle(`on_unknown = "panic"`), []string{"on_unknown", `"pause"`}},
		"empty query":                   {throttle(`queries = { a = "" }`), []string{"queries", "at least 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := strings.Replace(backfillOf("t", `a = "b"`), "set ", c.attributes+"\n  set ", 1)
			resource.UnitTest(t, resource.TestCase{
				ProtoV6ProviderFactories: factories,
				Steps:                    []resource.TestStep{{Config: nowhere + config, PlanOnly: true, ExpectError: phrase(c.want...)}},
			})
		})
	}
}

// What a query of the user's own says can only be tried on the server.
func TestBadThrottleQueriesAreRefusedByThePlan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query string
		want  []string
	}{
		"typo":        {"SELECT count(*) FROM userz", []string{"Throttle query mine does not run", "userz", "42P01"}},
		"a statement": {"DELETE FROM users RETURNING true", []string{"Throttle query mine does not run"}},
		"a text":      {"SELECT 'high'::text", []string{"Throttle query mine gives no boolean and no number"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createUsers(t, db, 1)
			resource.UnitTest(t, resource.TestCase{
				ProtoV6ProviderFactories: factories,
				Steps: []resource.TestStep{{
					Config:   providerBlock(db) + expandName + backfillWith(`throttle = { queries = { mine = "`+c.query+`" } }`),
					PlanOnly: true, ExpectError: phrase(c.want...),
				}},
			})
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

func TestBackfillWithoutTriggers(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 300)
	db.Exec(t, `
		ALTER TABLE users ADD updated_at timestamptz;
		CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END';
		CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();`)
	r := newCLIRun(t, db, expandName+backfillName)
	expectWarning(t, planWarnings(t, r), "Backfill of public.users (first_name, last_name)", "touch, which calls touch(): before each row", "fire_triggers = false")
	r.write("main.tf", expandName+backfillWith("fire_triggers = false"))
	refused := r.run(1, "plan")
	if !phrase("may not keep the triggers of public.users from firing").MatchString(refused) {
		t.Errorf("the plan says:\n%s", refused)
	}
	allowQuiet(t, db)
	for _, w := range planWarnings(t, r) {
		if strings.Contains(w.Detail, "touch()") {
			t.Errorf("the trigger is listed, which is not going to fire:\n%s", w.Detail)
		}
	}
	r.apply()
	expectRightNames(t, db, 300)
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE updated_at IS NOT NULL`); n != 0 {
		t.Errorf("the trigger fired for %d rows", n)
	}
}

// An apply whose budget is spent ends well, and the next one goes on.
func TestApplyBudgetEndsAnApply(t *testing.T) {
	t.Parallel()
	const rows = 4000
	db := pgtest.NewDatabase(t)
	createUsers(t, db, rows)
	countUpdates(t, db)
	slowUpdates(t, db, "users", "1 ms")
	r := newCLIRun(t, db, expandName+backfillWith(`apply_budget = "1s"`))
	for applies, done := 1, int64(0); ; applies++ {
		output := r.run(0, "apply", "-auto-approve")
		now := rowsUpdated(t, db)
		if pgtest.QueryRow[string](t, db, `SELECT status FROM terraform_postgres.progress`) == "complete" {
			if applies == 1 {
				t.Error("the first apply did all the work")
			}
			break
		}
		if !phrase("Backfill of public.users (first_name, last_name) stopped after its apply_budget of 1s at", "Apply again").MatchString(output) {
			t.Fatalf("the apply says:\n%s", output)
		}
		if now == done || applies > 100 {
			t.Fatalf("after %d applies, %d rows are done", applies, now)
		}
		done = now
		if planned := r.run(2, "plan", "-detailed-exitcode"); !strings.Contains(planned, `"running" -> (known after apply)`) {
			t.Fatalf("the plan says:\n%s", planned)
		}
	}
	r.run(0, "plan", "-detailed-exitcode")
	expectEachOnce(t, db)
}
