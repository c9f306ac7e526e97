package backfill

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/load"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// State is what can be observed of a backfill.
type State struct {
	Status      ledger.Status
	RowsUpdated int64
	// Spec is the backfill as the ledger has it.
	Spec Spec
}

var _ stage.Stage[State] = (*Spec)(nil)

// Apply runs the backfill to its end, or from where an earlier Apply stopped. When the apply_budget is spent first, the
// state that it returns is still running; when ctx ends first, it returns ctx's error together with what has been done.
func (s *Spec) Apply(ctx context.Context, env *stage.Env) (State, error) {
	if err := env.Ledger.Ensure(ctx, env.DB); err != nil {
		return State{}, err
	}
	j, err := s.begin(ctx, env)
	if err != nil {
		return State{}, err
	}
	err = j.run(ctx)
	state := State{Status: ledger.Running, Spec: *s}
	if err == nil {
		state.Status = ledger.Complete
	}
	rows, endErr := j.end(ctx)
	state.RowsUpdated = rows
	switch {
	case err == nil, errors.Is(err, errBudgetSpent) && ctx.Err() == nil:
		return state, endErr
	case ctx.Err() != nil:
		return state, ctx.Err()
	default:
		return state, j.explain(err)
	}
}

// end gives the lease back, also when ctx has ended: the lease must not outlive the work. It returns the rows done.
func (j *job) end(ctx context.Context) (rows int64, err error) {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	// A cancel request may reach the server late and hit this transaction instead of the one that it was meant for.
	return backoff.Retry(ending, func() (int64, error) {
		err := j.env.DB.Tx(ending, pgx.TxOptions{}, bookkeeping, func(tx pgx.Tx) (err error) {
			if err := j.env.Ledger.ReleaseLease(ending, tx, j.lease); err != nil {
				return err
			}
			rows, err = j.env.Ledger.RowsUpdated(ending, tx, j.lease.StageID)
			return err
		})
		return rows, err
	}, backoff.WithMaxTries(3))
}

// bookkeeping bounds the transactions that touch only the ledger.
var bookkeeping = []pg.Setting{pg.Timeout("lock_timeout", 5*time.Second), pg.Timeout("statement_timeout", 10*time.Second)}

// continues reports whether the record is of this very backfill of this very table, so that its checkpoints count.
func (s *Spec) continues(record *ledger.Stage, table *pg.Table) bool {
	was, err := stage.Decode[Spec](record.Spec)
	return err == nil && record.TableOID == table.OID && was.needsWork() == s.needsWork()
}

// Waits of an apply for another one that may have died.
const (
	// waitForLease is longer than the lease of a holder that died.
	waitForLease = ledger.LeaseTTL + 2*time.Second
	// waitForSession is longer than a session of which nothing comes any more, such as one of a host that lost its power,
	// keeps its locks: the server ends its transaction (idle_in_transaction_session_timeout).
	waitForSession = 30 * time.Second
)

// begin checks the live table, records the stage and takes the lease. It waits out the lease of a holder that died, and
// the transaction that it may have left open.
func (s *Spec) begin(ctx context.Context, env *stage.Env) (*job, error) {
	pause := backoff.NewConstantBackOff(500 * time.Millisecond)
	started := time.Now()
	j, err := backoff.Retry(ctx, func() (*job, error) {
		j, err := s.tryBegin(ctx, env)
		var held *ledger.LeaseHeldError
		switch {
		case err == nil, errors.As(err, &held) && time.Since(started) < waitForLease, pg.IsContention(err):
			return j, err
		}
		return nil, backoff.Permanent(err)
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(max(waitForSession, env.RetryFor)))
	if pg.IsContention(err) {
		// The look at the table waits for an ACCESS EXCLUSIVE lock, and that at the record for another apply.
		blocked := &job{spec: s, env: env}
		return nil, blocked.lockedFinding(ctx, fmt.Sprintf("Table %s, or the ledger's record of the backfill, has been locked for %s. What was done before is recorded.",
			s.Table, time.Since(started).Round(time.Second/10)), s.lockRecord(env), "EXPLAIN SELECT FROM "+s.Table.SQL())
	}
	var held *ledger.LeaseHeldError
	if errors.As(err, &held) {
		return nil, finding.New(fmt.Sprintf("Backfill of %s is already running", s.describe()),
			fmt.Sprintf("It is being run by %s, which renews its lease. Two applies never run one backfill.\n\nWait until that apply "+
				"ends; then apply again. Its progress:\n\n  SELECT * FROM %s.progress;", held.Holder, pg.Quote(env.Ledger.Schema))).Because(err)
	}
	return j, err
}

func (s *Spec) tryBegin(ctx context.Context, env *stage.Env) (*job, error) {
	j := &job{spec: s, env: env, pace: newPace(s.Options.targetDuration(), s.Options.workers()), interleaving: newInterleaving()}
	err := env.DB.Tx(ctx, pgx.TxOptions{}, bookkeeping, func(tx pgx.Tx) error {
		record, err := env.Ledger.LockStage(ctx, tx, ledger.BatchedBackfill, s.ID)
		if err != nil {
			return err
		}
		table, err := env.ReadTable(ctx, tx, s.Table, record)
		if err != nil {
			return err
		}
		if err := s.explain(ctx, tx, env, table); err != nil {
			return err
		}
		reads, err := s.compile(ctx, tx, expression.Scope{Table: table})
		if err != nil {
			return err
		}
		if err := s.overlaps(ctx, tx, env, table); err != nil {
			return err
		}
		if err := s.checkQuiet(ctx, tx, env, table, reads); err != nil {
			return err
		}
		resumes := record != nil && record.Status != ledger.Forgotten && !record.Retired() && s.continues(record, table)
		j.provenBefore = resumes && record.Status == ledger.Complete
		j.filling = stage.Filling(table, s.Targets(), reads)
		if record, err = s.record(table, reads); err != nil {
			return err
		}
		if err := env.Ledger.Put(ctx, tx, record); err != nil {
			return err
		}
		if j.lease, err = env.Ledger.TakeLease(ctx, tx, record.ID, env.Holder); err != nil {
			return err
		}
		if !resumes {
			if err := j.restart(ctx, tx, table); err != nil {
				return err
			}
		}
		if err := j.readLimits(ctx, tx); err != nil {
			return err
		}
		j.monitor = load.NewMonitor(env.DB, s.Options.throttle(), leavesOf(table), env.Log)
		return nil
	})
	if err != nil {
		return nil, err
	}
	j.settings = j.batchSettings()
	j.gate = newGate(s.Options, j.monitor.Verdict, time.Now())
	return j, nil
}

func (s *Spec) record(table *pg.Table, reads []string) (*ledger.Stage, error) {
	document, err := stage.Encode(s)
	if err != nil {
		return nil, err
	}
	numbers := func(names []string) (numbers []int16) {
		for _, name := range names {
			if c, exists := table.Column(name); exists {
				numbers = append(numbers, c.Attnum)
			}
		}
		return numbers
	}
	return &ledger.Stage{
		Kind: ledger.BatchedBackfill, Key: s.ID, TableOID: table.OID, Table: s.Table, Spec: document,
		Reads: numbers(reads), Writes: numbers(s.Targets()), Status: ledger.Running,
	}, nil
}

// job is one run of a backfill under its lease.
type job struct {
	spec  *Spec
	env   *stage.Env
	lease ledger.Lease
	pace  *pace
	gate  *gate
	// interleaving chooses the passes of the walk, of which no more than mostPasses pay, by the OID of the leaf.
	interleaving *interleaving
	mostPasses   map[uint32]int
	monitor      *load.Monitor
	// rows is how many rows this apply has updated.
	rows atomic.Int64
	// done and total are how far the walk is, in pages times ledger.HashRange.
	done, total atomic.Int64
	// settings hold for every batch.
	settings []pg.Setting
	// filling tells a sync of the same columns to take no notice of the batches.
	filling pg.Setting
	// provenBefore means that an earlier run was complete: look first, walk only if there is much to do.
	provenBefore bool
	// A writer that waits for a row of a batch looks for deadlocks after deadlock_timeout, once. By then the batch has ended:
	// longest bounds its statement and rowLockTimeout a wait of its own, so that the application is never the victim.
	longest, rowLockTimeout time.Duration
}

func (j *job) restart(ctx context.Context, tx pgx.Tx, table *pg.Table) error {
	segments, err := j.env.Ledger.Segments(ctx, tx, j.lease.StageID)
	if err != nil {
		return err
	}
	for _, s := range segments {
		if err := j.env.Ledger.DropSegments(ctx, tx, j.lease, s.Relation); err != nil {
			return err
		}
	}
	return j.env.Ledger.Begin(ctx, tx, j.lease, table.EstimatedRows)
}

func (j *job) readLimits(ctx context.Context, tx pgx.Tx) error {
	var milliseconds int64
	err := tx.QueryRow(ctx, `SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout'`).Scan(&milliseconds)
	if err != nil {
		return fmt.Errorf("read deadlock_timeout: %w", err)
	}
	deadlockTimeout := time.Duration(milliseconds) * time.Millisecond
	target := max(min(j.spec.Options.targetDuration(), deadlockTimeout/3), time.Millisecond)
	j.pace.target, j.rowLockTimeout, j.longest = target, target/2, max(min(overrun*target, deadlockTimeout-target), target)
	return nil
}

// budgetGrace is how long what runs when the apply_budget is spent has to end by itself. Only a proof takes longer.
const budgetGrace = 2 * time.Second

// run walks, then proves and sweeps until no row is left, while the lease is renewed and the server's load is watched.
func (j *job) run(ctx context.Context) error {
	if !j.gate.closes.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, j.gate.closes.Add(budgetGrace), errBudgetSpent)
		defer cancel()
	}
	err := j.runUntilDone(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errBudgetSpent) {
		return errBudgetSpent
	}
	return err
}

func (j *job) runUntilDone(ctx context.Context) error {
	// What operators asked for before counts from the first batch on.
	err := j.record(ctx, func(tx pgx.Tx) error { return j.beat(ctx, tx, j.report(time.Now(), 0)) })
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	working, stop := context.WithCancel(ctx)
	group.Go(func() error { return j.heartbeat(working) })
	group.Go(func() error { return j.monitor.Run(working) })
	group.Go(func() error {
		defer stop()
		return j.work(working)
	})
	return group.Wait()
}

func (j *job) work(ctx context.Context) error {
	if j.provenBefore {
		done, err := j.finish(ctx, sweepOnce)
		if err != nil || done {
			return err
		}
	}
	for {
		if err := j.walk(ctx); err != nil {
			return err
		}
		done, err := j.finish(ctx, maxSweeps)
		if err != nil || done {
			return err
		}
	}
}

// explain turns what ended the job into words for the user.
func (j *job) explain(err error) error {
	if errors.Is(err, ledger.ErrLeaseLost) {
		return finding.New(fmt.Sprintf("Backfill of %s was taken over by another apply", j.spec.describe()),
			"This apply lost its lease, most likely because it could not reach the server for a while, and another one goes on with the "+
				"work. Nothing is lost. Apply again when that one has ended.").Because(err)
	}
	return err
}
