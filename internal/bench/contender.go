package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// way is one way to fill the columns.
type way struct {
	Name string
	// prepare and finish are not measured. They may be nil.
	prepare, finish func(ctx context.Context, t *trial) error
	// run returns the time that went into filling without the proof, or 0 if it proves nothing.
	run func(ctx context.Context, b *bench, t *trial) (filling time.Duration, err error)
}

var (
	oneUpdate  = way{Name: "one big UPDATE", run: updateAll}
	keyBatches = way{Name: "batches of 1,000 keys", run: updateByKey}
	pgroll     = way{Name: "pgroll", prepare: pgrollInit, run: pgrollStart, finish: pgrollComplete}
)

// backfillWith is the product.
func backfillWith(workers int) way {
	name := "backfill, 1 worker"
	if workers > 1 {
		name = fmt.Sprintf("backfill, %d workers", workers)
	}
	return way{Name: name, run: func(ctx context.Context, b *bench, t *trial) (time.Duration, error) {
		return runBackfillEngine(ctx, b.engineLog(), t.ConnString(), engineJob{Workers: workers})
	}}
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
