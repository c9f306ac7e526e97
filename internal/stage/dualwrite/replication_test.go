package dualwrite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

// A subscriber whose publisher has no new columns fills them by itself, when it is told to.
func TestLogicalReplication(t *testing.T) {
	server := pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{"wal_level": "logical"}})
	publisher, subscriber := pgtest.NewDatabaseOn(t, server), pgtest.NewDatabaseOn(t, server)
	super := func(db *pgtest.Database, sql string, args ...any) {
		t.Helper()
		if _, err := db.Super.Exec(t.Context(), fmt.Sprintf(sql, args...)); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
	publisher.Exec(t, `CREATE TABLE users (id bigint PRIMARY KEY, full_name text, email text)`)
	subscriber.Exec(t, usersTable)
	spec := splitNames()
	spec.EnableAlways = true
	apply(t, stagetest.NewEnv(t, subscriber.ConnString()), spec)
	super(publisher, `CREATE PUBLICATION p FOR TABLE users`)
	// Within one server, the subscription cannot make its slot by itself: it would wait for its own transaction.
	super(publisher, `SELECT pg_create_logical_replication_slot('s', 'pgoutput')`)
	super(subscriber, `CREATE SUBSCRIPTION s CONNECTION '%s' PUBLICATION p WITH (create_slot = false, slot_name = 's')`,
		server.ConnString(publisher.Name, pgtest.SuperuserRole))
	defer super(subscriber, `ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s`)

	publisher.Exec(t, `INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`)
	arrived := func(want string) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for row(t, subscriber) != want {
			if time.Now().After(deadline) {
				t.Fatalf("the subscriber has %s, want %s", row(t, subscriber), want)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	arrived("Mary Smith|-|Mary|Smith")
	publisher.Exec(t, `UPDATE users SET full_name = 'Ann Lee'`)
	arrived("Ann Lee|-|Ann|Lee")
	publisher.Exec(t, `UPDATE users SET email = 'a@x'`)
	arrived("Ann Lee|a@x|Ann|Lee")
	// The worker that applies changes has no application_name; its role tells.
	if got := pgtest.QueryRow[int64](t, subscriber, `SELECT count(*) FROM terraform_postgres.writer WHERE side = 'old'`); got != 1 {
		t.Errorf("the subscription was noted %d times, want once", got)
	}
}
