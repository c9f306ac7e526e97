package contract_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
)

// Services that know the new columns only go on writing while the old one goes and comes back. None of them meets an error, and
// every row ends with what reverse gives for it, or with the exception that nobody has changed.
func TestServicesGoOnWhileAColumnGoesAndComesBack(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 2000)
	env := newEnv(t, db.ConnString())
	expand(t, env, nameSync())
	exceptions := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE full_name IS DISTINCT FROM concat_ws(' ', first_name, last_name)`)
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	var written atomic.Int64
	for w := range 3 {
		writers.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				// Rows of their own, so that the exceptions among the others stay as they are.
				for _, sql := range []string{
					`INSERT INTO users (id, first_name, last_name) VALUES ($1, 'New', 'Row')`,
					`UPDATE users SET last_name = 'Changed' WHERE id = $1 - 1 AND id > 10000`,
					`UPDATE users SET email = 'other' WHERE id = 1 + $1 % 2000`,
				} {
					if _, err := db.Owner.Exec(writing, sql, 10_000+3*i+w*1_000_000); err != nil && writing.Err() == nil {
						t.Errorf("writer: %v", err)
						return
					}
					written.Add(1)
				}
			}
		})
	}
	drop := contractOf("users", contract.Drop, "full_name")
	apply(t, env, contractOf("users", contract.Quarantine, "full_name"))
	apply(t, env, drop)
	revertAll(t, env, drop)
	apply(t, env, drop)
	revertAll(t, env, drop)
	stop()
	writers.Wait()
	t.Logf("%d statements", written.Load())
	wrong := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE id > 2000 AND full_name IS DISTINCT FROM concat_ws(' ', first_name, last_name)`)
	if wrong != 0 {
		t.Errorf("%d rows that were written meanwhile have another full name than reverse gives", wrong)
	}
	left := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE full_name IS DISTINCT FROM concat_ws(' ', first_name, last_name)`)
	if left != exceptions {
		t.Errorf("%d exceptions, want %d", left, exceptions)
	}
}
