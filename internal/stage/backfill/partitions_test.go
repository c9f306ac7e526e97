package backfill_test

import (
	"fmt"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// createOrders makes a table of two levels of partitions: two years, the first by two halves of the ids, and a default.
func createOrders(t *testing.T, db *pgtest.Database, rowsEach int) {
	t.Helper()
	db.Exec(t, `
		CREATE TABLE orders (id int, year int, n int) PARTITION BY LIST (year);
		CREATE TABLE orders_2025 PARTITION OF orders FOR VALUES IN (2025) PARTITION BY HASH (id);
		CREATE TABLE orders_2025_0 PARTITION OF orders_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE orders_2025_1 PARTITION OF orders_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		CREATE TABLE orders_2026 PARTITION OF orders FOR VALUES IN (2026);
		CREATE TABLE orders_default PARTITION OF orders DEFAULT;
		CREATE TABLE orders_2027 (n int, year int, id int)`)
	for _, year := range []int{2025, 2026, 1999} {
		db.Exec(t, `INSERT INTO orders SELECT i, $2, NULL FROM generate_series(1, $1) AS i`, rowsEach, year)
	}
	db.Exec(t, `INSERT INTO orders_2027 SELECT NULL, 2027, i FROM generate_series(1, $1) AS i`, rowsEach)
}

func ordersSpec() *backfill.Spec { return specOf("orders", map[string]string{"n": "id + orders.year"}) }

const wrongOrders = `SELECT count(*) FROM orders WHERE n IS DISTINCT FROM id + year`

func TestPartitionsOfTwoLevels(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createOrders(t, db, 5000)
	env := newEnv(t, db.ConnString())
	if state := apply(t, env, ordersSpec()); state.RowsUpdated != 15_000 {
		t.Errorf("%d rows updated, want 15000", state.RowsUpdated)
	}
	expectNone(t, db, "wrong rows", wrongOrders)
	expectNone(t, db, "rows of a table that is no partition were changed", `SELECT count(*) FROM orders_2027 WHERE n IS NOT NULL`)
}

// What happens to a partition while the backfill is interrupted, or while it runs.
func TestPartitionsComeAndGo(t *testing.T) {
	t.Parallel()
	changes := map[string]string{
		"attach":  `ALTER TABLE orders ATTACH PARTITION orders_2027 FOR VALUES IN (2027)`,
		"detach":  `ALTER TABLE orders DETACH PARTITION orders_2026`,
		"drop":    `DROP TABLE orders_2026`,
		"rewrite": `VACUUM FULL orders_2025_0`,
		"empty":   `TRUNCATE orders_2026`,
	}
	for name, sql := range changes {
		t.Run(name+" between two applies", func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createOrders(t, db, 1000)
			slow(t, db, "orders")
			env, spec := newEnv(t, db.ConnString()), ordersSpec()
			interrupt(t, db, env, spec, 300)
			db.Exec(t, sql)
			apply(t, env, spec)
			expectNone(t, db, "wrong rows", wrongOrders)
		})
		t.Run(name+" during an apply", func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createOrders(t, db, 1000)
			slow(t, db, "orders")
			env, spec := newEnv(t, db.ConnString()), ordersSpec()
			done := applying(t.Context(), env, spec)
			waitForRows(t, db, spec, 300, done)
			db.Exec(t, sql)
			if result := <-done; result.err != nil {
				t.Fatalf("apply: %v", result.err)
			}
			expectNone(t, db, "wrong rows", wrongOrders)
		})
	}
}

func TestManyPartitionsOfFewRows(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE events (id int, n int) PARTITION BY RANGE (id)`)
	for i := range 60 {
		db.Exec(t, fmt.Sprintf(`CREATE TABLE events_%d PARTITION OF events FOR VALUES FROM (%d) TO (%d)`, i, i*10, (i+1)*10))
	}
	db.Exec(t, `INSERT INTO events SELECT i FROM generate_series(0, 599) AS i`)
	apply(t, newEnv(t, db.ConnString()), specOf("events", map[string]string{"n": "id"}))
	expectNone(t, db, "wrong rows", `SELECT count(*) FROM events WHERE n IS DISTINCT FROM id`)
}
