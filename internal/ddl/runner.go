package ddl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Times of the lock discipline. A request that waits in the lock queue makes every later query on the table wait
// behind it, so that the length of one wait is the application's stall.
const (
	// firstLockTimeout is the wait of the first attempt; it doubles from there up to Runner.LockTimeout.
	firstLockTimeout = 50 * time.Millisecond
	// evictTimeout is the wait that makes an autovacuum yield: the server looks after deadlock_timeout, 1 s unless
	// changed, whether the waiter may cancel one.
	evictTimeout = 1500 * time.Millisecond
	// evictAfter leaves an autovacuum that much time to end by itself, and separates two attempts to evict it.
	evictAfter = 5 * time.Second
	// patience is the age from which a holder counts as long: queueing behind it would only stall the application. A table on
	// which there is always somebody of that age is looked at with more patience after a while.
	patience       = 250 * time.Millisecond
	morePatience   = time.Second
	impatientAfter = 15 * time.Second
	// lookEvery is the pause between two looks at a long holder.
	lookEvery = 150 * time.Millisecond
	// workTimeout bounds every statement under the lock. Changes of metadata take milliseconds.
	workTimeout = 3 * time.Second
	// maxReconnects bounds how often in a row a lost session is replaced.
	maxReconnects = 5
)

// Runner runs changes under a table lock without making the application wait.
type Runner struct {
	DB  *pg.DB
	Log *slog.Logger
	// LockTimeout is the longest that one attempt stays in the lock queue.
	LockTimeout time.Duration
	// RetryFor is how long attempts go on before the change fails and names who blocks it.
	RetryFor time.Duration
}

// Change is a piece of work that must happen under one lock, in one transaction.
type Change struct {
	// Title says what is being done, for errors and logs: "Add columns to public.users".
	Title string
	Table *pg.Table
	Lock  Lock
	// Others are further relations that the statements lock, such as the other side of a foreign key.
	Others []uint32
	// Scans means that the statements read the table, under a lock that keeps nobody out, and take as long as that takes.
	Scans bool
	// Rewrites means that the statements write the table anew under the lock, which the user has accepted, and take as long as
	// that takes. Only getting the lock is bounded.
	Rewrites bool
	// Work runs under the lock. It checks the live table again, runs the statements and writes the ledger. It may run
	// several times, also after a commit whose answer was lost, and then has to see that it is done.
	Work func(ctx context.Context, tx pgx.Tx) error
}

// Run makes the change, or returns a finding that names who held the lock for all of RetryFor.
func (r *Runner) Run(ctx context.Context, change Change) error {
	a := &attempts{runner: r, change: change, lockTimeout: firstLockTimeout, started: time.Now()}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 2*firstLockTimeout, 2*time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, a.next(ctx) },
		backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(max(r.RetryFor, 1))) // 0 would be for ever.
	var contention *contentionError
	if errors.As(err, &contention) {
		return contention.finding(change, time.Since(a.started))
	}
	return err
}

// attempts is the state of one Run.
type attempts struct {
	runner      *Runner
	change      Change
	started     time.Time
	lockTimeout time.Duration
	seen        map[string]time.Time // when a holder whose age is hidden was first seen
	evicted     time.Time            // the last attempt to evict an autovacuum
	reconnects  int
}

// next looks, and makes one attempt if that has a chance. Its error is permanent unless another attempt may help.
func (a *attempts) next(ctx context.Context) error {
	wait := a.lockTimeout
	long, err := a.longHolders(ctx)
	if err != nil {
		return a.classify(ctx, err)
	}
	if len(long) > 0 {
		if !a.mayEvict(long) {
			a.runner.Log.DebugContext(ctx, "waiting without queueing", "change", a.change.Title, "holder", long[0].String())
			pause := time.Duration((0.5 + rand.Float64()) * float64(lookEvery))
			return errors.Join(&contentionError{holders: long}, &backoff.RetryAfterError{Duration: pause})
		}
		wait, a.evicted = evictTimeout, time.Now()
	}
	err = a.attempt(ctx, wait)
	if err == nil {
		return nil
	}
	a.lockTimeout = min(2*a.lockTimeout, max(a.runner.LockTimeout, firstLockTimeout))
	return a.classify(ctx, err)
}

// unboundTransaction takes away the limit that a role or a database may have for transactions, since PostgreSQL 17.
const unboundTransaction = `SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'`

// attempt queues for the lock at most that long, and works under it.
func (a *attempts) attempt(ctx context.Context, wait time.Duration) error {
	settings := []pg.Setting{
		pg.Timeout("lock_timeout", wait),
		// lock_timeout is per lock, and a partitioned table has many: this bounds their sum.
		pg.Timeout("statement_timeout", wait+firstLockTimeout),
	}
	return a.runner.DB.Tx(ctx, pgx.TxOptions{}, settings, func(tx pgx.Tx) error {
		lock := fmt.Sprintf("LOCK TABLE %s IN %s MODE", a.change.Table.Name.SQL(), a.change.Lock)
		if _, err := tx.Exec(ctx, lock); err != nil {
			if pg.IsStatementTimeout(ctx, err) {
				return &contentionError{cause: err}
			}
			return fmt.Errorf("lock table %s: %w", a.change.Table.Name, err)
		}
		limit := pg.Timeout("statement_timeout", workTimeout)
		if a.change.Scans || a.change.Rewrites {
			limit.Value = "0"
		}
		if _, err := tx.Exec(ctx, `SELECT set_config($1, $2, true)`, limit.Name, limit.Value); err != nil {
			if pg.IsStatementTimeout(ctx, err) { // It still runs under the first one.
				return &contentionError{cause: err}
			}
			return fmt.Errorf("bound the work under the lock: %w", err)
		}
		if a.change.Rewrites {
			if _, err := tx.Exec(ctx, unboundTransaction); err != nil {
				return fmt.Errorf("leave the rewrite its time: %w", err)
			}
		}
		return a.change.Work(ctx, tx)
	})
}

// classify decides whether another attempt may help, and remembers who was in the way.
func (a *attempts) classify(ctx context.Context, err error) error {
	var contention *contentionError
	if !errors.As(err, &contention) && pg.IsContention(err) {
		contention = &contentionError{cause: err}
	}
	switch {
	case contention != nil:
		a.reconnects = 0
		if found, lookErr := a.look(ctx); lookErr == nil {
			contention.holders = found
		}
		return contention
	case ctx.Err() == nil && pg.IsConnectionLost(err) && a.reconnects < maxReconnects:
		a.reconnects++
		a.runner.Log.WarnContext(ctx, "session lost, trying again", "change", a.change.Title, "error", err)
		return err
	}
	return backoff.Permanent(err)
}

func (a *attempts) look(ctx context.Context) (found []Holder, err error) {
	relations := append(append([]uint32(nil), a.change.Table.Tree...), a.change.Others...)
	err = a.runner.DB.Look(ctx, func(tx pgx.Tx) error {
		found, err = holders(ctx, tx, relations, a.change.Lock)
		return err
	})
	return found, err
}

// longHolders returns the holders behind which queueing has no chance.
func (a *attempts) longHolders(ctx context.Context) ([]Holder, error) {
	found, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	limit := patience
	if time.Since(a.started) > impatientAfter {
		limit = morePatience
	}
	seen := make(map[string]time.Time, len(found))
	var long []Holder
	for _, h := range found {
		key := fmt.Sprintf("%d %s", h.PID, h.Transaction)
		first, known := a.seen[key]
		if !known {
			first = time.Now()
		}
		seen[key] = first
		if h.Age.Duration() >= limit || (h.Age < 0 && time.Since(first) >= limit) {
			long = append(long, h)
		}
	}
	a.seen = seen
	return long, nil
}

// mayEvict reports whether only autovacuums are in the way that had time to end by themselves.
func (a *attempts) mayEvict(long []Holder) bool {
	for _, h := range long {
		if !h.yields() {
			return false
		}
	}
	return time.Since(a.started) >= evictAfter && time.Since(a.evicted) >= evictAfter
}

// contentionError says that others hold the lock; another attempt may find them gone.
type contentionError struct {
	holders []Holder
	cause   error
}

func (e *contentionError) Error() string { return "the table is locked by others" }
func (e *contentionError) Unwrap() error { return e.cause }

func (e *contentionError) finding(change Change, waited time.Duration) error {
	found := fmt.Sprintf("The %s lock on table %s could not be had within %s, so nothing was changed. Attempts were short, "+
		"so that the application waited behind them for moments only.", change.Lock, change.Table.Name, waited.Round(time.Second/10))
	who, remedies := make([]string, len(e.holders)), ""
	for i, h := range e.holders {
		who[i] = h.String()
		remedies += h.Remedy() + "\n"
	}
	act := "Apply again when the table is less busy, or raise lock_retry_for in the provider block."
	if len(e.holders) > 0 {
		act = "Wait until they end and apply again, or end them:\n\n" + finding.Indent(remedies)
		found += "\n\nIt is held by:\n" + finding.List(who)
	}
	return finding.New(fmt.Sprintf("%s: the table is locked by others", change.Title),
		finding.Paragraphs(found, act)).Because(e.cause)
}
