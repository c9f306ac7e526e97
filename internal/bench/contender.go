package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// way is one way to fill the columns.
type way struct {
	Name string
	// prepare and finish are not measured. They may be nil.
	prepare, finish func(ctx context.Context, t *trial) error
	// run returns the time that went into filling without the proof, or 0 if it proves nothing.
	run func(ctx context.Context, b *bench, t *trial) (filling time.Duration, err error)
	// control means that it fills nothing: it shows what any work at all does to the writers.
	control bool
}

var (
	oneUpdate  = way{Name: "one big UPDATE", run: updateAll}
	keyBatches = way{Name: "batches of 1,000 keys", run: updateByKey}
	// gentle trades speed for what writers feel on a small machine.
	gentle = backfillAs("backfill, gentle", backfill.Options{Workers: 1, TargetDuration: 10 * time.Millisecond, DutyCycle: 0.25})
	// busyLoop keeps one processor busy and touches no table.
	busyLoop = way{Name: "a busy loop", run: loop, control: true}
	pgroll   = way{Name: "pgroll", prepare: pgrollInit, run: pgrollStart, finish: pgrollComplete}
)

// backfillWith is the product.
func backfillWith(workers int) way {
	name := "backfill, 1 worker"
	if workers > 1 {
		name = fmt.Sprintf("backfill, %d workers", workers)
	}
	return backfillAs(name, backfill.Options{Workers: workers})
}

func backfillAs(name string, options backfill.Options) way {
	return way{Name: name, run: func(ctx context.Context, b *bench, t *trial) (time.Duration, error) {
		return runBackfillEngine(ctx, b.engineLog(), t.ConnString(), options)
	}}
}

// loop runs for as long as the writers are measured alone.
func loop(ctx context.Context, b *bench, t *trial) (time.Duration, error) {
	for end := time.Now().Add(b.idle); time.Now().Before(end); {
		if _, err := t.Owner.Exec(ctx, "SELECT sum(n) FROM generate_series(1, 100000) AS n"); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func updateAll(ctx context.Context, _ *bench, t *trial) (time.Duration, error) {
	_, err := t.Owner.Exec(ctx, "UPDATE users SET first_name = "+firstName+", last_name = "+lastName)
	return 0, err
}

// updateByKey is what most guides and libraries do: the next thousand keys in the order of the primary key, each batch a
// transaction.
func updateByKey(ctx context.Context, _ *bench, t *trial) (time.Duration, error) {
	conn, err := pgx.Connect(ctx, t.ConnString())
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var last int64
	for {
		var next *int64
		err := conn.QueryRow(ctx, "SELECT max(id) FROM (SELECT id FROM users WHERE id > $1 ORDER BY id LIMIT 1000) AS batch", last).Scan(&next)
		if err != nil || next == nil {
			return 0, err
		}
		_, err = conn.Exec(ctx, "UPDATE users SET first_name = "+firstName+", last_name = "+lastName+
			" WHERE id > $1 AND id <= $2 AND first_name IS NULL", last, *next)
		if err != nil {
			return 0, err
		}
		last = *next
	}
}
