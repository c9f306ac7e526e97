package backfill

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/load"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Options say how fast a backfill may go. Zero values mean the defaults.
type Options struct {
	// TargetDuration is how long one transaction should take, and so how long a writer may wait for a row.
	TargetDuration time.Duration `json:",omitempty"`
	// MaxRowsPerSecond bounds all workers together; 0 is no bound.
	MaxRowsPerSecond float64 `json:",omitempty"`
	// Workers is how many batches run at the same time.
	Workers int `json:",omitempty"`
	// DutyCycle is the share of the time that each worker may be busy, above 0 and up to 1.
	DutyCycle float64 `json:",omitempty"`
	// Windows are the times at which batches may run; none means always.
	Windows []Window `json:",omitempty"`
	// ApplyBudget ends an apply after that time and leaves the rest to the next; 0 is no bound.
	ApplyBudget time.Duration `json:",omitempty"`
	// Throttle are the thresholds at which batches wait; nil means load.Defaults.
	Throttle *load.Limits `json:",omitempty"`
}

// Defaults and bounds of the options.
const (
	DefaultTargetDuration = 100 * time.Millisecond
	// MinTargetDuration is about what the transaction itself takes on a server with slow disks.
	MinTargetDuration = 10 * time.Millisecond
	// MaxTargetDuration is longer than a writer should ever wait for a row.
	MaxTargetDuration = 10 * time.Second
	// DefaultWorkers is measured to double the speed of one worker without crowding out the application.
	DefaultWorkers = 2
	MaxWorkers     = 16
)

func (o Options) targetDuration() time.Duration {
	if o.TargetDuration > 0 {
		return o.TargetDuration
	}
	return DefaultTargetDuration
}

func (o Options) workers() int {
	if o.Workers > 0 {
		return o.Workers
	}
	return DefaultWorkers
}

func (o Options) dutyCycle() float64 {
	if o.DutyCycle > 0 && o.DutyCycle <= 1 {
		return o.DutyCycle
	}
	return 1
}

func (o Options) throttle() load.Limits {
	if o.Throttle != nil {
		return *o.Throttle
	}
	return load.Defaults()
}

// Retune gives the ledger the options of a backfill that is otherwise as the ledger has it, for whoever runs it next, and
// returns what Read does. It looks at no row.
func (s *Spec) Retune(ctx context.Context, env *stage.Env) (*State, error) {
	if err := env.Ledger.Ensure(ctx, env.DB); err != nil {
		return nil, err
	}
	err := env.DB.Tx(ctx, pgx.TxOptions{}, bookkeeping, func(tx pgx.Tx) error {
		record, err := env.Ledger.LockStage(ctx, tx, ledger.BatchedBackfill, s.ID)
		if err != nil || record == nil || record.Status == ledger.Forgotten || record.Retired() {
			return err // Nobody is going to run it.
		}
		was, err := stage.Decode[Spec](record.Spec)
		if err != nil {
			return err
		}
		was.Options, was.QuietTriggers = s.Options, s.QuietTriggers
		if record.Spec, err = stage.Encode(was); err != nil {
			return err
		}
		return env.Ledger.Put(ctx, tx, record)
	})
	if err != nil {
		return nil, err
	}
	return s.Read(ctx, env)
}
