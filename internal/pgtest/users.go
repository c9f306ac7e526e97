package pgtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The split of full_name that the workload, its oracle and the tests agree on. Writers do the same with strings.Cut,
// and FullName puts the parts together again.
const (
	FirstName = `split_part(full_name, ' ', 1)`
	LastName  = `substr(full_name, length(split_part(full_name, ' ', 1)) + 2)`
	FullName  = `first_name || ' ' || last_name`
)

// Generation is the way in which a release of a service writes names.
type Generation int

// The three releases of a service that follow each other while full_name is replaced.
const (
	OldStyle  Generation = iota // writes full_name, and knows of no other column
	DualWrite                   // writes full_name, first_name and last_name
	NewStyle                    // writes first_name and last_name, and does not know of full_name any more
	generations
)

// Querier is what a *pgx.Conn, a *pgxpool.Pool and a pgx.Tx have in common.
type Querier interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row
}

// Users is the workload of a service on the table users. Every transaction makes the same change to a twin table,
// users_oracle, from which CheckUsers tells what users has to hold. Several Users can work on one table at once: one
// for each generation that is deployed.
type Users struct {
	// Differs makes dual writers write names in capitals without surrounding spaces, which the split expressions would
	// never give: a tool that overwrites what a service wrote is then found out.
	Differs bool

	lastID atomic.Int64

	mu         sync.Mutex
	generation Generation
	inFlight   [generations]int
	ended      *sync.Cond
}

// CreateUsers makes the tables users and users_oracle, old style, with the given number of rows in each.
func CreateUsers(ctx context.Context, conn Querier, rows int) error {
	// A few names in a hundred have shapes on which an expression may fail: missing, empty, of one word or of four.
	const sql = `
CREATE TABLE users (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  full_name text,
  email text NOT NULL,
  visits integer NOT NULL DEFAULT 0,
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX users_email_idx ON users (email);

-- first_name and last_name are NULL where the split of full_name has to stand.
CREATE TABLE users_oracle (
  id bigint PRIMARY KEY,
  full_name text,
  first_name text,
  last_name text,
  visits integer NOT NULL DEFAULT 0
);

INSERT INTO users (full_name, email)
SELECT
  CASE n %% 50
    WHEN 7 THEN NULL
    WHEN 17 THEN ''
    WHEN 27 THEN 'Plato' || n
    WHEN 37 THEN 'Maria de la Cruz' || n
    WHEN 47 THEN '  Zoë   Ångström' || n || ' '
    ELSE 'First' || n || ' Last' || n
  END,
  'user' || n || '@example.com'
FROM generate_series(1, %d) AS n;

INSERT INTO users_oracle (id, full_name)
SELECT id, full_name FROM users;`
	_, err := conn.Exec(ctx, fmt.Sprintf(sql, rows))
	return err
}

// NewUsers returns a workload on the tables that CreateUsers made.
func NewUsers(ctx context.Context, conn Querier, generation Generation) (*Users, error) {
	users := &Users{generation: generation}
	users.ended = sync.NewCond(&users.mu)
	var lastID int64
	if err := conn.QueryRow(ctx, "SELECT coalesce(max(id), 0) FROM users").Scan(&lastID); err != nil {
		return nil, err
	}
	users.lastID.Store(lastID)
	return users, nil
}

// SetGeneration deploys another release: transactions that begin from now on belong to it. It returns when no
// transaction of another generation is in flight.
func (u *Users) SetGeneration(ctx context.Context, generation Generation) error {
	defer context.AfterFunc(ctx, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.ended.Broadcast()
	})()

	u.mu.Lock()
	defer u.mu.Unlock()
	u.generation = generation
	for other := range u.inFlight {
		for other != int(generation) && u.inFlight[other] > 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			u.ended.Wait()
		}
	}
	return nil
}

func (u *Users) begin() Generation {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.inFlight[u.generation]++
	return u.generation
}

func (u *Users) end(generation Generation) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.inFlight[generation]--
	u.ended.Broadcast()
}

// Transaction is the work of one writer: in a hundred 20 inserts, 35 changes of a name, 35 of an unrelated column and
// 10 deletes, each of a random row. A row that is gone is left at that.
func (u *Users) Transaction(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	generation := u.begin()
	defer u.end(generation)
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		id := 1 + random.Int64N(max(1, u.lastID.Load()))
		switch chance := random.IntN(100); {
		case chance < 20:
			return u.insert(ctx, tx, u.name(generation, random))
		case chance < 55:
			return u.rename(ctx, tx, id, u.name(generation, random))
		case chance < 90:
			return both(ctx, tx,
				"UPDATE users SET visits = visits + 1, updated_at = now() WHERE id = $1",
				"UPDATE users_oracle SET visits = visits + 1 WHERE id = $1", id)
		default:
			return both(ctx, tx,
				"DELETE FROM users WHERE id = $1",
				"DELETE FROM users_oracle WHERE id = $1", id)
		}
	})
}

func (u *Users) insert(ctx context.Context, tx pgx.Tx, name name) error {
	var id int64
	email := name.token + "@example.com"
	var err error
	switch name.generation {
	case OldStyle:
		err = tx.QueryRow(ctx,
			"INSERT INTO users (full_name, email) VALUES ($1, $2) RETURNING id",
			name.full, email).Scan(&id)
	case DualWrite:
		err = tx.QueryRow(ctx,
			"INSERT INTO users (full_name, first_name, last_name, email) VALUES ($1, $2, $3, $4) RETURNING id",
			name.full, name.first, name.last, email).Scan(&id)
	default:
		err = tx.QueryRow(ctx,
			"INSERT INTO users (first_name, last_name, email) VALUES ($1, $2, $3) RETURNING id",
			name.first, name.last, email).Scan(&id)
	}
	if err != nil {
		return err
	}
	u.lastID.Store(max(u.lastID.Load(), id)) // two at once may keep the lower id: it only bounds the random choice
	_, err = tx.Exec(ctx,
		"INSERT INTO users_oracle (id, full_name, first_name, last_name) VALUES ($1, $2, $3, $4)",
		id, name.full, name.first, name.last)
	return err
}

func (u *Users) rename(ctx context.Context, tx pgx.Tx, id int64, name name) error {
	var tag pgconn.CommandTag
	var err error
	switch name.generation {
	case OldStyle:
		tag, err = tx.Exec(ctx,
			"UPDATE users SET full_name = $2, updated_at = now() WHERE id = $1",
			id, name.full)
	case DualWrite:
		tag, err = tx.Exec(ctx,
			"UPDATE users SET full_name = $2, first_name = $3, last_name = $4, updated_at = now() WHERE id = $1",
			id, name.full, name.first, name.last)
	default:
		tag, err = tx.Exec(ctx,
			"UPDATE users SET first_name = $2, last_name = $3, updated_at = now() WHERE id = $1",
			id, name.first, name.last)
	}
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	// An old-style writer that writes the name that is there already changes nothing, so a dual writer's parts stay.
	_, err = tx.Exec(ctx, `
UPDATE users_oracle SET
  full_name = $2,
  first_name = CASE WHEN $3::text IS NULL AND full_name IS NOT DISTINCT FROM $2 THEN first_name ELSE $3 END,
  last_name = CASE WHEN $3::text IS NULL AND full_name IS NOT DISTINCT FROM $2 THEN last_name ELSE $4 END
WHERE id = $1`, id, name.full, name.first, name.last)
	return err
}

// both changes one row of each table, in the order in which every transaction locks them. A row that is not there yet for
// the first statement may be for the second one.
func both(ctx context.Context, tx pgx.Tx, users, oracle string, id int64) error {
	tag, err := tx.Exec(ctx, users, id)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	_, err = tx.Exec(ctx, oracle, id)
	return err
}
