package backfill

import (
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/load"
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

// Defaults of the options.
const (
	DefaultTargetDuration = 100 * time.Millisecond
	// DefaultWorkers is measured to double the speed of one worker without crowding out the application.
	DefaultWorkers = 2
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
