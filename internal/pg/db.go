package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is a small pool of sessions that opens on first use. Every statement runs in a transaction whose settings are
// local to it, because a pooler may hand the session to somebody else afterwards.
type DB struct {
	*sessions
	// always are settings of every transaction.
	always []Setting
}

// sessions is what a DB shares with those that With makes of it.
type sessions struct {
	settings Settings

	mu      sync.Mutex
	pool    *pgxpool.Pool
	checked bool // the server has been recognised as a supported engine
	// watchesClients means that the server can notice a client that is gone while a statement runs.
	watchesClients bool
	// failed is why the first connection could not be had, so that a plan with many resources waits for it once.
	failed   error
	failedAt time.Time
}

// failureLasts is how long a failed first connection counts for the resources that ask next.
const failureLasts = 10 * time.Second

// Open returns a DB; it does not connect.
func Open(settings Settings) *DB { return &DB{sessions: &sessions{settings: settings}} }

// With returns the same sessions with further settings for every transaction, which win over those that Tx is given.
func (db *DB) With(settings ...Setting) *DB {
	return &DB{sessions: db.sessions, always: slices.Concat(db.always, settings)}
}

// ApplicationName is what the sessions call themselves.
func (db *DB) ApplicationName() string { return db.settings.ApplicationName }

// MaxConnections is how many sessions may be open at the same time.
func (db *DB) MaxConnections() int { return int(db.settings.MaxConnections) }

// Close ends all sessions.
func (db *DB) Close() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.pool != nil {
		db.pool.Close()
		db.pool, db.checked = nil, false
	}
}

// Setting is one run-time parameter for the length of a transaction.
type Setting struct{ Name, Value string }

// Timeout returns a setting whose value is a duration. The server takes whole milliseconds, and 0 means for ever, so
// that anything shorter than one millisecond becomes one.
func Timeout(name string, d time.Duration) Setting {
	return Setting{name, strconv.FormatInt(max(d.Milliseconds(), 1), 10) + "ms"}
}

// abandoned is how long the server keeps a transaction of ours open after the provider went silent: locks of a
// provider that was killed must not outlive it.
const abandoned = 10 * time.Second

// lookTimeout bounds the statements that only look. Catalog reads take milliseconds; one that waits, waits for
// somebody's lock, and a plan must not queue.
const lookTimeout = 5 * time.Second

// Look runs fn in a read-only transaction with short timeouts, for catalog reads and checks. All of them see the same moment: an
// apply that commits meanwhile shows in the ledger and in the table, or in neither.
func (db *DB) Look(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return db.Tx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, []Setting{
		Timeout("lock_timeout", time.Second), Timeout("statement_timeout", lookTimeout),
	}, fn)
}

// Tx runs fn in a transaction with the given settings and commits it if fn returns nil. When ctx has
// ended, the error wraps ctx's. After a commit whose session was lost (IsConnectionLost), only the database can tell
// whether it happened.
func (db *DB) Tx(ctx context.Context, options pgx.TxOptions, settings []Setting, fn func(tx pgx.Tx) error) (err error) {
	pool, err := db.open(ctx)
	if err != nil {
		return err
	}
	options.BeginQuery = db.begin(options, settings)
	tx, err := pool.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	committed := false
	defer func() {
		if committed {
			return
		}
		// The first error is the news. The rollback needs its own time when ctx has ended.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelGrace)
		defer cancel()
		if ctx.Err() != nil {
			// The request to cancel may reach the server late, and must not hit somebody else's statement in this session.
			_ = tx.Conn().Close(ending)
		}
		_ = tx.Rollback(ending)
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = errors.Join(ctx.Err(), err) // The server only says that it was asked to cancel.
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed = true
	return nil
}

// checkClient ends a statement of a provider that was killed within a second. Servers on some platforms cannot do it and
// refuse the setting.
var checkClient = Timeout("client_connection_check_interval", time.Second)

// begin returns what begins a transaction with its settings, in one trip to the server. A pooler sees nothing of a setting that
// was refused: the session is thrown away.
func (db *DB) begin(options pgx.TxOptions, settings []Setting) string {
	all := append([]Setting{Timeout("idle_in_transaction_session_timeout", abandoned)}, settings...)
	if db.watchesClients {
		all = append(all, checkClient)
	}
	if db.settings.Role != "" {
		all = append(all, Setting{"role", db.settings.Role})
	}
	all = append(all, db.always...) // Of two settings of one name, the later one stays.
	calls := make([]string, len(all))
	for i, s := range all {
		calls[i] = fmt.Sprintf("set_config(%s, %s, true)", Literal(s.Name), Literal(s.Value))
	}
	sql := "BEGIN"
	if options.IsoLevel != "" {
		sql += " ISOLATION LEVEL " + string(options.IsoLevel)
	}
	return sql + " " + string(options.AccessMode) + "; SELECT " + strings.Join(calls, ", ")
}

// open connects on first use and refuses engines that are not PostgreSQL.
func (db *DB) open(ctx context.Context) (*pgxpool.Pool, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.pool == nil {
		config, err := db.settings.poolConfig()
		if err != nil {
			return nil, err
		}
		if db.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config); err != nil {
			return nil, err
		}
	}
	if db.checked {
		return db.pool, nil
	}
	if db.failed != nil && time.Since(db.failedAt) < failureLasts {
		return nil, db.failed
	}
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if err := checkEngine(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `SELECT set_config($1, $2, true)`, checkClient.Name, checkClient.Value)
		db.watchesClients = err == nil
		return nil
	})
	// A refused setting has spoilt the transaction, which held nothing.
	if err != nil && !errors.Is(err, pgx.ErrTxCommitRollback) {
		if ctx.Err() == nil {
			db.failed, db.failedAt = err, time.Now()
		}
		return nil, err
	}
	db.checked = true
	return db.pool, nil
}
