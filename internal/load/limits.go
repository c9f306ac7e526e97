package load

import "time"

// Signal is the name of something that can make batches wait or shrink, as it stands in reasons and in the configuration.
type Signal string

// The signals. Those of Limits.Queries have the names that the user gave them.
const (
	ReplicaLag      Signal = "replica_lag"
	SyncLag         Signal = "sync_lag"
	Replicas        Signal = "replicas"
	SlotRetained    Signal = "slot_retained"
	ArchiveBacklog  Signal = "archive_backlog"
	SnapshotAge     Signal = "snapshot_age"
	DeadRows        Signal = "dead_rows"
	BlockedSessions Signal = "blocked_sessions"
	Checkpoints     Signal = "checkpoints"
)

// Limits are the thresholds above which batches wait. A zero threshold switches its signal off.
//
// A wait ends well below the threshold that began it, so that the backfill does not begin and stop at every look.
type Limits struct {
	// ReplicaLag and ReplicaLagBytes are how far a standby may be behind in replay: batches wait when it is above both.
	// They go on when it is below half of the time or a sixteenth of the bytes. With one of them zero, the other decides.
	ReplicaLag      time.Duration `json:",omitempty"`
	ReplicaLagBytes int64         `json:",omitempty"`
	// SyncLag is how long a synchronous standby may take to write WAL down, which is what every commit waits for. Batches go
	// on below three tenths of it.
	SyncLag time.Duration `json:",omitempty"`
	// IgnoreReplicas are the application names of standbys whose lag does not count: one with recovery_min_apply_delay is
	// behind on purpose.
	IgnoreReplicas []string `json:",omitempty"`
	// LostReplica is how long batches wait when fewer standbys stream than before. After that the new number is the one to
	// go by.
	LostReplica time.Duration `json:",omitempty"`
	// SlotRetained is how many bytes of WAL a replication slot may keep on the server's disk; batches go on below half of
	// it. The signal also makes batches wait for a slot that is about to lose WAL (wal_status unreserved, or less than 1 GiB left
	// of max_slot_wal_keep_size, or a quarter of that if it is small).
	SlotRetained int64 `json:",omitempty"`
	// ArchiveBacklog is how many WAL segments may wait to be archived; batches go on below 20/42 of it. Nothing is read
	// while archive_mode is off.
	ArchiveBacklog int64 `json:",omitempty"`
	// SnapshotAge is for how long something may have kept vacuum from removing dead rows: a transaction, prepared or not, a
	// replication slot, a standby with hot_standby_feedback. From a quarter of it on, the verdict names who it is.
	SnapshotAge time.Duration `json:",omitempty"`
	// DeadRows and DeadRowsShare are how many rows that wait for vacuum the relations may have: batches wait above DeadRows and
	// above that share of the live rows, until half of that is left or a vacuum has ended. Relations that autovacuum
	// does not come to do not count, and if nothing happens within 5 minutes batches go on.
	DeadRows      int64   `json:",omitempty"`
	DeadRowsShare float64 `json:",omitempty"`
	// BlockedSessions is how long a client may wait for a lock of the backfill. One that waits longer halves the budget.
	BlockedSessions time.Duration `json:",omitempty"`
	// Checkpoints is how many checkpoints in 10 minutes may be requested, because of the amount of WAL, and not timed. From
	// that number on, and if they are half of all, the budget is halved.
	Checkpoints int64 `json:",omitempty"`
	// Queries are conditions of the user's own.
	Queries []Query `json:",omitempty"`
	// OnUnknown says what to do while a signal cannot be read.
	OnUnknown OnUnknown `json:",omitempty"`
}

// Query is a condition of the user's own: a SELECT that gives one value. Batches wait while it is true, or a number above 0.
// An error, NULL and no row are unknown.
type Query struct {
	// Name stands in reasons.
	Name string
	SQL  string
}

// OnUnknown says what to do when a signal could not be read for 15 seconds.
type OnUnknown string

// The choices. The zero value is PauseOnUnknown.
const (
	PauseOnUnknown    OnUnknown = "pause"
	ContinueOnUnknown OnUnknown = "continue"
)

// Units of bytes.
const (
	mebibyte = 1 << 20
	gibibyte = 1 << 30
)

// Defaults returns the thresholds that hold unless the user sets others.
func Defaults() Limits {
	return Limits{
		ReplicaLag:      10 * time.Second,
		ReplicaLagBytes: 16 * mebibyte,
		SyncLag:         time.Second,
		LostReplica:     time.Minute,
		SlotRetained:    10 * gibibyte,
		ArchiveBacklog:  42, // what GitLab waits at
		SnapshotAge:     time.Hour,
		DeadRows:        1_000_000,
		DeadRowsShare:   0.3, // autovacuum comes at 0.2, unless it is set otherwise, and should have a start
		BlockedSessions: 500 * time.Millisecond,
		Checkpoints:     2,
		OnUnknown:       PauseOnUnknown,
	}
}

// builtIn are the signals that are no queries of the user's own, in the order of reasons.
var builtIn = []Signal{
	SyncLag, ReplicaLag, Replicas, SlotRetained, ArchiveBacklog, SnapshotAge, DeadRows, BlockedSessions, Checkpoints,
}

// signals returns those that are switched on, in the order of reasons.
func (l *Limits) signals() []Signal {
	on := map[Signal]bool{
		ReplicaLag:      l.ReplicaLag > 0 || l.ReplicaLagBytes > 0,
		SyncLag:         l.SyncLag > 0,
		Replicas:        l.LostReplica > 0,
		SlotRetained:    l.SlotRetained > 0,
		ArchiveBacklog:  l.ArchiveBacklog > 0,
		SnapshotAge:     l.SnapshotAge > 0,
		DeadRows:        l.DeadRows > 0 || l.DeadRowsShare > 0,
		BlockedSessions: l.BlockedSessions > 0,
		Checkpoints:     l.Checkpoints > 0,
	}
	var signals []Signal
	for _, s := range builtIn {
		if on[s] {
			signals = append(signals, s)
		}
	}
	for _, q := range l.Queries {
		signals = append(signals, Signal(q.Name))
	}
	return signals
}
