package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// The defaults of the provider block, which only internal/provider knows.
const (
	applicationName = "terraform-provider-postgres"
	lockTimeout     = 200 * time.Millisecond
	lockRetryFor    = 10 * time.Minute
	maxConnections  = 4
)

// newEnv is what a configured provider hands to its stages.
func newEnv(connString string, log *slog.Logger) *stage.Env {
	db := pg.Open(pg.Settings{ConnectionString: connString, ApplicationName: applicationName, MaxConnections: maxConnections})
	return &stage.Env{
		DB: db, Ledger: ledger.Ledger{Schema: ledger.DefaultSchema}, Log: log, Holder: applicationName, RetryFor: lockRetryFor,
		Runner:  &ddl.Runner{DB: db, Log: log, LockTimeout: lockTimeout, RetryFor: lockRetryFor},
		Planned: &stage.Planned{},
	}
}

// runBackfillEngine applies the backfill as a resource does, to its proven end. It returns the time that the walk took,
// which is less by the proof, or 0 if the log did not tell.
func runBackfillEngine(ctx context.Context, log slog.Handler, connString string, options backfill.Options) (walk time.Duration, err error) {
	clock := walkClock{log, new(atomic.Int64)}
	env := newEnv(connString, slog.New(clock))
	defer env.DB.Close()
	spec := &backfill.Spec{
		ID: backfill.ID(usersTable, forward), Table: usersTable, Set: forward,
		Options: options,
	}
	state, err := spec.Apply(ctx, env)
	if err == nil && state.Status != ledger.Complete {
		err = fmt.Errorf("the backfill is %s", state.Status)
	}
	return time.Duration(clock.walk.Load()), err
}

// applySync makes a sync of the columns, as a resource does.
func applySync(ctx context.Context, connString string, table pg.TableName, forward, reverse map[string]string) error {
	env := newEnv(connString, slog.New(slog.DiscardHandler))
	defer env.DB.Close()
	spec := &dualwrite.Spec{
		ID: dualwrite.ID(table, forward), Table: table, Forward: forward, Reverse: reverse,
		Conflict: dualwrite.KeepBoth, Schema: ledger.DefaultSchema,
	}
	_, err := spec.Apply(ctx, env)
	return err
}

// walkClock reads from the log how long the walk over the table took.
type walkClock struct {
	slog.Handler

	walk *atomic.Int64 // nanoseconds
}

// Enabled lets the record through that is read, whatever the level of the log.
func (c walkClock) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || c.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (c walkClock) Handle(ctx context.Context, record slog.Record) error {
	if record.Message == "walk ended" {
		record.Attrs(func(a slog.Attr) bool {
			if took, err := time.ParseDuration(a.Value.String()); a.Key == "took" && err == nil {
				c.walk.Add(int64(took))
			}
			return true
		})
	}
	if !c.Handler.Enabled(ctx, record.Level) {
		return nil
	}
	return c.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (c walkClock) WithAttrs(attrs []slog.Attr) slog.Handler {
	return walkClock{c.Handler.WithAttrs(attrs), c.walk}
}

// WithGroup implements slog.Handler.
func (c walkClock) WithGroup(name string) slog.Handler {
	return walkClock{c.Handler.WithGroup(name), c.walk}
}

// engineLog is where the backfill logs to.
func (b *bench) engineLog() slog.Handler {
	level := slog.LevelWarn
	if b.verbose {
		level = slog.LevelDebug
	}
	return slog.NewTextHandler(b.progress, &slog.HandlerOptions{Level: level})
}
