package dualwrite_test

import (
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// newSpec is a sync of a table in public.
func newSpec(table string, forward, reverse map[string]string) *dualwrite.Spec {
	name := pg.TableName{Schema: "public", Name: table}
	return &dualwrite.Spec{
		ID: dualwrite.ID(name, forward), Table: name, Forward: forward, Reverse: reverse, Conflict: dualwrite.KeepBoth,
		Schema: ledger.DefaultSchema,
	}
}

// splitNames is the sync that most tests use.
func splitNames() *dualwrite.Spec {
	return newSpec("users",
		map[string]string{"first_name": "split_part(full_name, ' ', 1)", "last_name": "substr(full_name, strpos(full_name, ' ') + 1)"},
		map[string]string{"full_name": "concat_ws(' ', first_name, last_name)"})
}

const usersTable = `CREATE TABLE users (id bigint PRIMARY KEY, full_name text, email text, first_name text, last_name text)`

// apply brings a sync about that must succeed.
func apply(t testing.TB, env *stage.Env, spec *dualwrite.Spec) {
	t.Helper()
	if _, err := spec.Apply(t.Context(), env); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

// row is what a test finds in users.
func row(t testing.TB, db *pgtest.Database) string {
	t.Helper()
	return pgtest.QueryRow[string](t, db, `SELECT coalesce(string_agg(format('%s|%s|%s|%s', coalesce(full_name, '-'), coalesce(email, '-'),
		coalesce(first_name, '-'), coalesce(last_name, '-')), ' ' ORDER BY id), 'none') FROM users`)
}

func TestEvents(t *testing.T) {
	const (
		old       = `INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`
		different = `INSERT INTO users VALUES (1, 'Mary Smith', 'm@x', 'MARY', 'SMITH')`
		unfilled  = `ALTER TABLE users DISABLE TRIGGER USER; INSERT INTO users VALUES (1, 'Mary Smith', 'm@x'); ALTER TABLE users ENABLE TRIGGER USER`
	)
	for name, c := range map[string]struct {
		conflict dualwrite.Conflict
		forward  bool // only
		events   []string
		want     string
	}{
		"insert of the old side":             {events: []string{old}, want: "Mary Smith|-|Mary|Smith"},
		"insert of the new side":             {events: []string{`INSERT INTO users (id, first_name, last_name) VALUES (1, 'Ann', 'Lee')`}, want: "Ann Lee|-|Ann|Lee"},
		"insert of a part of the new side":   {events: []string{`INSERT INTO users (id, first_name) VALUES (1, 'Ann')`}, want: "Ann|-|Ann|-"},
		"insert of both":                     {events: []string{different}, want: "Mary Smith|m@x|MARY|SMITH"},
		"insert of neither":                  {events: []string{`INSERT INTO users (id) VALUES (1)`}, want: "-|-|-|-"},
		"update of the old side":             {events: []string{old, `UPDATE users SET full_name = 'Ann Lee'`}, want: "Ann Lee|-|Ann|Lee"},
		"update of the new side":             {events: []string{old, `UPDATE users SET last_name = 'Lee'`}, want: "Mary Lee|-|Mary|Lee"},
		"update of both":                     {events: []string{old, `UPDATE users SET full_name = 'Ann Lee', first_name = 'A', last_name = 'L'`}, want: "Ann Lee|-|A|L"},
		"update of something else":           {events: []string{different, `UPDATE users SET email = 'n@x'`}, want: "Mary Smith|n@x|MARY|SMITH"},
		"update of something else heals":     {events: []string{unfilled, `UPDATE users SET email = 'n@x'`}, want: "Mary Smith|n@x|Mary|Smith"},
		"update to the same value":           {events: []string{different, `UPDATE users SET full_name = 'Mary Smith'`}, want: "Mary Smith|m@x|MARY|SMITH"},
		"update of the old side to NULL":     {events: []string{old, `UPDATE users SET full_name = NULL`}, want: "-|-|-|-"},
		"update of the new side to NULL":     {events: []string{old, `UPDATE users SET first_name = NULL, last_name = NULL`}, want: "|-|-|-"},
		"upsert old style":                   {events: []string{different, `INSERT INTO users (id, full_name) VALUES (1, 'Ann Lee') ON CONFLICT (id) DO UPDATE SET full_name = excluded.full_name`}, want: "Ann Lee|m@x|Ann|Lee"},
		"upsert new style":                   {events: []string{different, `INSERT INTO users (id, first_name, last_name) VALUES (1, 'Ann', 'Lee') ON CONFLICT (id) DO UPDATE SET first_name = excluded.first_name, last_name = excluded.last_name`}, want: "Ann Lee|m@x|Ann|Lee"},
		"conflict, the old side wins":        {conflict: dualwrite.OldWins, events: []string{old, `UPDATE users SET full_name = 'Ann Lee', first_name = 'A', last_name = 'L'`}, want: "Ann Lee|-|Ann|Lee"},
		"conflict, the new side wins":        {conflict: dualwrite.NewWins, events: []string{old, `UPDATE users SET full_name = 'Ann Lee', first_name = 'A', last_name = 'L'`}, want: "A L|-|A|L"},
		"reject takes what follows forward":  {conflict: dualwrite.Reject, events: []string{old, `UPDATE users SET full_name = 'Ann Lee', first_name = 'Ann', last_name = 'Lee'`}, want: "Ann Lee|-|Ann|Lee"},
		"reject takes what follows backward": {conflict: dualwrite.Reject, events: []string{old, `UPDATE users SET full_name = 'Ann Bo Lee', first_name = 'Ann Bo', last_name = 'Lee'`}, want: "Ann Bo Lee|-|Ann Bo|Lee"},
		"forward only, insert of the old":    {forward: true, events: []string{old}, want: "Mary Smith|-|Mary|Smith"},
		"forward only, insert of the new":    {forward: true, events: []string{`INSERT INTO users (id, first_name, last_name) VALUES (1, 'Ann', 'Lee')`}, want: "-|-|Ann|Lee"},
		"forward only, update of the old":    {forward: true, events: []string{different, `UPDATE users SET full_name = 'Ann Lee'`}, want: "Ann Lee|m@x|Ann|Lee"},
		"forward only, update of the new":    {forward: true, events: []string{old, `UPDATE users SET first_name = 'Ann'`}, want: "Mary Smith|-|Ann|Smith"},
		"forward only, something else":       {forward: true, events: []string{different, `UPDATE users SET email = 'n@x'`}, want: "Mary Smith|n@x|MARY|SMITH"},
		"forward only heals":                 {forward: true, events: []string{unfilled, `UPDATE users SET email = 'n@x'`}, want: "Mary Smith|n@x|Mary|Smith"},
	} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.NewDatabase(t)
			db.Exec(t, usersTable)
			spec := splitNames()
			if c.conflict != "" {
				spec.Conflict = c.conflict
			}
			if c.forward {
				spec.Reverse = nil
			}
			apply(t, stagetest.NewEnv(t, db.ConnString()), spec)
			for _, event := range c.events {
				db.Exec(t, event)
			}
			if got := row(t, db); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
