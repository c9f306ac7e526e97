package modeltest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

// table is a table on a server, with its model, its twin and those who write to it. Every write puts into the twin, in the
// same transaction, what the model expects.
type table struct {
	t        *testing.T
	seed     uint64
	db       *pgtest.Database
	env      *stage.Env
	name     pg.TableName
	random   *rand.Rand
	model    *model
	sessions []*session
	merges   bool
	history  []string
	// all is where comparisons read, as the owner.
	all *pgx.Conn
}

// session is one of a service. It stays open over all stages, with its prepared statements and cached plans.
type session struct {
	name string
	conn *pgx.Conn
	// oldOnly and newOnly are those whose role has no privileges on the other columns.
	oldOnly, newOnly bool
}

const (
	oldRole = "_old_service"
	newRole = "_new_service"
	twin    = "twin"
)

// newTable makes a table with two changes at most. What is on it follows from the seed.
func newTable(t *testing.T, seed uint64, draw func(w *table, known []*change)) *table {
	t.Helper()
	w := &table{t: t, seed: seed, db: pgtest.NewDatabase(t), random: rand.New(rand.NewPCG(seed, 0)), model: &model{rows: make(map[int64]row)}}
	w.env = stagetest.NewEnv(t, w.db.ConnString())
	w.env.RetryFor, w.env.Runner.RetryFor = time.Minute, time.Minute // No test fails on timing.
	w.merges = pgtest.QueryRow[bool](t, w.db, `SELECT current_setting('server_version_num')::int >= 150000`)
	withCollation := pgtest.QueryRow[bool](t, w.db, `SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')`)
	draw(w, changes(withCollation))
	w.db.Exec(t, types)
	if withCollation {
		w.db.Exec(t, collation)
	}
	w.create()
	w.all = w.connect(w.db.ConnString())
	w.note("%s", w.describe())
	return w
}

// drawTable draws what is on a table.
func drawTable(w *table, known []*change) {
	random := w.random
	w.name = pg.TableName{Schema: "public", Name: pick(random, "users", "users", `we\ird "People's"`)}
	// Every change has its turn, and beside it there are names, or any other.
	first := int((w.seed - 1) % uint64(len(known)))
	w.model.changes = append(w.model.changes, &progress{change: known[first]})
	if second := pick(random, 0, random.IntN(len(known))); second != first && chance(random, 60) {
		w.model.changes = append(w.model.changes, &progress{change: known[second]})
	}
	for _, p := range w.model.changes {
		p.notNull = make(map[string]bool)
		if p.name != "composite" && chance(random, 20) {
			p.notNull[p.oldColumns()[0]] = true
		}
	}
	w.model.partitioned = chance(random, 40)
	w.model.tidy = slices.ContainsFunc(w.model.changes, func(p *progress) bool { return p.name == "names" }) && chance(random, 30)
}

func (w *table) describe() string {
	var parts []string
	for _, p := range w.model.changes {
		parts = append(parts, fmt.Sprintf("%s (NOT NULL %v)", p.name, slices.Sorted(maps.Keys(p.notNull))))
	}
	return fmt.Sprintf("%s, changes: %s, partitioned: %t, with a trigger of the user's: %t", w.name, strings.Join(parts, " and "),
		w.model.partitioned, w.model.tidy)
}

func (w *table) create() {
	columns := []string{"id bigint", "part integer", "note text"}
	for _, p := range w.model.changes {
		for _, c := range p.old {
			definition := pg.Quote(c.name) + " " + c.typ
			if p.notNull[c.name] {
				definition += " NOT NULL"
			}
			columns = append(columns, definition)
		}
	}
	body := strings.Join(columns, ",\n  ")
	if w.model.partitioned {
		w.db.Exec(w.t, fmt.Sprintf("CREATE TABLE %s (\n  %s,\n  PRIMARY KEY (id, part)\n) PARTITION BY LIST (part)", w.name.SQL(), body))
		for part := range 3 {
			w.db.Exec(w.t, fmt.Sprintf("CREATE TABLE part%d PARTITION OF %s FOR VALUES IN (%d)", part, w.name.SQL(), part))
		}
	} else {
		w.db.Exec(w.t, fmt.Sprintf("CREATE TABLE %s (\n  %s,\n  PRIMARY KEY (id, part)\n)", w.name.SQL(), body))
	}
	w.db.Exec(w.t, fmt.Sprintf("CREATE TABLE %s (id bigint PRIMARY KEY, content jsonb)", twin))
	if w.model.tidy {
		w.createTidy()
	}
	// Functions that take the place of the server's in sessions that look here first.
	w.db.Exec(w.t, `
		CREATE SCHEMA evil;
		CREATE FUNCTION evil.split_part(text, text, integer) RETURNS text LANGUAGE sql AS $$ SELECT 'EVIL' $$;
		CREATE FUNCTION evil.substr(text, integer) RETURNS text LANGUAGE sql AS $$ SELECT 'EVIL' $$;
		CREATE FUNCTION evil.concat_ws(text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'EVIL' $$;
		CREATE FUNCTION evil.encode(bytea, text) RETURNS text LANGUAGE sql AS $$ SELECT 'EVIL' $$;
		CREATE FUNCTION evil.round(numeric, integer) RETURNS numeric LANGUAGE sql AS $$ SELECT 666.0 $$;
		CREATE FUNCTION evil.string_to_array(text, text) RETURNS text[] LANGUAGE sql AS $$ SELECT '{EVIL}'::text[] $$;
		CREATE FUNCTION evil.concatenate(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'EVIL' $$;
		CREATE OPERATOR evil.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.concatenate);
		GRANT USAGE ON SCHEMA evil TO PUBLIC;`)
}

// createTidy makes a trigger as users have them: it changes what the writer gave, and for an update of the note alone.
func (w *table) createTidy() {
	w.db.Exec(w.t, `
		CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		  NEW.full_name := pg_catalog.btrim(NEW.full_name);
		  IF NEW.note = 'rename' THEN
		    NEW.full_name := 'Renamed By Trigger';
		  END IF;
		  RETURN NEW;
		END $$`)
	w.db.Exec(w.t, fmt.Sprintf("CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION tidy()", w.name.SQL()))
}

// tidied is what that trigger makes of a row.
func tidied(r row) row {
	changed := r.with(nil)
	if name := r["full_name"]; name != nil {
		changed["full_name"] = text(strings.Trim(*name, " "))
	}
	if same(r["note"], text("rename")) {
		changed["full_name"] = text("Renamed By Trigger")
	}
	return changed
}

func (w *table) openSessions() {
	server := w.db.Server
	for _, role := range []string{w.db.Name + oldRole, w.db.Name + newRole} {
		_, err := w.db.Super.Exec(w.t.Context(), fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", pg.Quote(role), server.Password))
		w.must(err)
		w.t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // The test's context has ended.
			defer cancel()
			_, err := w.db.Super.Exec(ctx, fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", pg.Quote(role)))
			w.must(err)
		})
		w.db.Exec(w.t, fmt.Sprintf("GRANT SELECT (id, part, note), INSERT (id, part, note), UPDATE (part, note) ON %s TO %s", w.name.SQL(), pg.Quote(role)))
		w.db.Exec(w.t, fmt.Sprintf("GRANT DELETE ON %s TO %s; GRANT ALL ON %s TO %[2]s", w.name.SQL(), pg.Quote(role), twin))
	}
	for _, p := range w.model.changes {
		w.grant(w.db.Name+oldRole, p.oldColumns())
	}
	owner := w.db.ConnString()
	w.sessions = []*session{
		{name: "plain", conn: w.connect(owner)},
		{name: "generic", conn: w.connect(owner, `SET plan_cache_mode = force_generic_plan`, `SET default_transaction_isolation = 'repeatable read'`,
			`SET plpgsql.extra_errors = 'all'`, `SET transform_null_equals = on`)},
		{name: "evil", conn: w.connect(owner, `SET search_path = evil, pg_catalog, public`, `SET standard_conforming_strings = off`,
			`SET bytea_output = 'escape'`, `SET backslash_quote = on`)},
		{name: "old service", oldOnly: true, conn: w.connect(server.ConnString(w.db.Name, w.db.Name+oldRole), `SET search_path = ''`)},
		{name: "new service", newOnly: true, conn: w.connect(server.ConnString(w.db.Name, w.db.Name+newRole), `SET quote_all_identifiers = on`)},
	}
}

// grant lets a role read and write columns.
func (w *table) grant(role string, columns []string) {
	list := pg.QuoteAll(columns)
	w.db.Exec(w.t, fmt.Sprintf("GRANT SELECT (%s), INSERT (%[1]s), UPDATE (%[1]s) ON %s TO %s", list, w.name.SQL(), pg.Quote(role)))
}

func (w *table) connect(connString string, settings ...string) *pgx.Conn {
	conn, err := pgx.Connect(w.t.Context(), connString)
	w.must(err)
	w.t.Cleanup(func() { conn.Close(context.Background()) })
	for _, sql := range settings {
		_, err := conn.Exec(w.t.Context(), sql)
		w.must(err)
	}
	return conn
}

func (w *table) must(err error) {
	w.t.Helper()
	if err != nil {
		w.fail("%v", err)
	}
}

func (w *table) note(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

// fail ends the test with what led to it.
func (w *table) fail(format string, args ...any) {
	w.t.Helper()
	tail := w.history[max(0, len(w.history)-25):]
	w.t.Fatalf("%s\n\n%s\nthe last of %d steps:\n  %s\n\nreplay: MODELTEST_SEED=%d go test -run '%s' ./internal/modeltest", fmt.Sprintf(format, args...),
		w.describe(), len(w.history), strings.Join(tail, "\n  "), w.seed, baseName(w.t))
}

// columns are those of the table by the names that the model knows them by, in SQL.
func (w *table) columns() (names, sql []string) {
	names, sql = []string{"part", "note"}, []string{"part::text", "note"}
	for _, p := range w.model.changes {
		for _, c := range p.oldColumns() {
			if p.archive != nil {
				break
			}
			now := c
			if p.away {
				now = c + "__quarantined"
			}
			names, sql = append(names, c), append(sql, pg.Quote(now)+"::text")
		}
		if p.expanded {
			for _, c := range p.newColumns() {
				names, sql = append(names, c), append(sql, pg.Quote(c)+"::text")
			}
		}
	}
	return names, sql
}

// compare compares every row with the model.
func (w *table) compare() {
	w.t.Helper()
	names, columns := w.columns()
	rows, err := w.all.Query(w.t.Context(), fmt.Sprintf("SELECT id, ARRAY[%s] FROM %s", strings.Join(columns, ", "), w.name.SQL()))
	w.must(err)
	var id int64
	var values []*string
	seen := make(map[int64]bool)
	var differences []string
	_, err = pgx.ForEachRow(rows, []any{&id, &values}, func() error {
		seen[id] = true
		is := make(row)
		for i, name := range names {
			is[name] = values[i]
		}
		values = nil
		expected, exists := w.model.rows[id]
		switch {
		case !exists:
			differences = append(differences, fmt.Sprintf("id %d: has %s, expected no such row", id, is))
		case !sameIn(names, is, expected):
			differences = append(differences, fmt.Sprintf("id %d:\n  has      %s\n  expected %s", id, is, expected))
		}
		return nil
	})
	w.must(err)
	for _, id := range slices.Sorted(maps.Keys(w.model.rows)) {
		if !seen[id] {
			differences = append(differences, fmt.Sprintf("id %d: no such row, expected %s", id, w.model.rows[id]))
		}
	}
	if len(differences) > 0 {
		w.fail("the table is not as the model:\n%s", strings.Join(differences, "\n"))
	}
}

// compareTwin compares the table with its twin, on the server.
func (w *table) compareTwin() {
	w.t.Helper()
	names, columns := w.columns()
	var pairs []string
	for i, name := range names {
		pairs = append(pairs, fmt.Sprintf("'%s', %s", strings.ReplaceAll(name, "'", "''"), columns[i]))
	}
	rows, err := w.all.Query(w.t.Context(), fmt.Sprintf(`
		SELECT format('id %%s: %%s, its twin has %%s', coalesce(t.id, twin.id), t.content, twin.content)
		  FROM (SELECT id, jsonb_strip_nulls(jsonb_build_object(%s)) AS content FROM %s) t
		  FULL JOIN (SELECT id, jsonb_strip_nulls(content) AS content FROM %s WHERE content IS NOT NULL) twin ON twin.id = t.id
		 WHERE t.content IS DISTINCT FROM twin.content`, strings.Join(pairs, ", "), w.name.SQL(), twin))
	w.must(err)
	differences, err := pgx.CollectRows(rows, pgx.RowTo[string])
	w.must(err)
	if len(differences) > 0 {
		w.fail("the table is not as its twin:\n%s", strings.Join(differences, "\n"))
	}
}

// copyToTwin puts rows of the model into the twin; those that are gone are marked by NULL.
func (w *table) copyToTwin(conn pgtest.Querier, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	contents := make([]*string, len(ids))
	for i, id := range ids {
		if r, exists := w.model.rows[id]; exists {
			content, err := json.Marshal(r)
			if err != nil {
				return err
			}
			contents[i] = text(string(content))
		}
	}
	_, err := conn.Exec(w.t.Context(), fmt.Sprintf(`
		INSERT INTO public.%s (id, content) SELECT id, content::jsonb FROM unnest($1::bigint[], $2::text[]) AS n (id, content)
		    ON CONFLICT (id) DO UPDATE SET content = excluded.content`, twin), ids, contents)
	return err
}

// checkNotes fails when the notes of writers name a sync that there is not.
func (w *table) checkNotes() {
	w.t.Helper()
	strays := pgtest.Query[string](w.t, w.db, `
		SELECT DISTINCT sync FROM terraform_postgres.writer WHERE sync NOT IN (SELECT key FROM terraform_postgres.stage WHERE kind = 'column_sync')`)
	if len(strays) > 0 {
		w.fail("writers were noted for syncs that are not there: %q", strays)
	}
}

func baseName(t *testing.T) string {
	name, _, _ := strings.Cut(t.Name(), "/")
	return name
}
