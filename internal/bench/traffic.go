package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// traffic is what an application does to the table, in short transactions of random rows.
type traffic struct {
	waits  *waits
	lastID atomic.Int64
}

// startTraffic sets the writers to work on a trial.
func startTraffic(ctx context.Context, b *bench, t *trial) (*traffic, *pgtest.Writers, error) {
	tr := &traffic{waits: newWaits(b.think)}
	tr.lastID.Store(int64(t.rows))
	writers, err := pgtest.StartWriters(ctx, t.ConnString(), pgtest.WriterOptions{
		Transaction: tr.transaction, Writers: b.writers, Pause: b.think,
	})
	return tr, writers, err
}

// transaction is, of a hundred, 15 inserts, 20 changes of a name, 25 of another column, and 40 reads.
func (tr *traffic) transaction(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	began := time.Now()
	err := tr.work(ctx, conn, random)
	if ctx.Err() == nil {
		tr.waits.record(began, time.Now())
	}
	return err
}

func (tr *traffic) work(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	id := 1 + random.Int64N(tr.lastID.Load())
	token := fmt.Sprintf("%016x", random.Uint64())
	var err error
	switch chance := random.IntN(100); {
	case chance < 15:
		var inserted int64
		err = conn.QueryRow(ctx, `INSERT INTO users (full_name, email, status, country, password_hash)
			VALUES ($1, $2, 'invited', 'DE', $3) RETURNING id`, "Name"+token[:6]+" Of"+token[6:], token+"@example.com", token).Scan(&inserted)
		if err == nil {
			tr.lastID.Store(inserted) // of two at once, either will do
		}
	case chance < 35:
		_, err = conn.Exec(ctx, "UPDATE users SET full_name = $2 WHERE id = $1", id, "Name"+token[:6]+" Of"+token[6:])
	case chance < 60:
		_, err = conn.Exec(ctx, "UPDATE users SET visits = visits + 1 WHERE id = $1", id)
	case chance < 80:
		_, err = conn.Exec(ctx, "SELECT full_name, email, status FROM users WHERE id = $1", id)
	default:
		_, err = conn.Exec(ctx, "SELECT id, full_name, status FROM users WHERE email = left(md5('email' || $1::bigint), 16) || '@example.com'", id)
	}
	return err
}

// trafficError is an error when a writer had one: the change must not be felt in that way.
func trafficError(s pgtest.Stats) error {
	if s.Errors == 0 {
		return nil
	}
	return fmt.Errorf("the writers had %d errors, such as: %w", s.Errors, s.FirstErrors[0])
}
