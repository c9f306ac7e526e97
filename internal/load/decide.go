package load

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// reading is what one look found; what is nil, or missing, could not be read.
type reading struct {
	standbys    *standbys
	slots       *slots
	archive     *archive
	horizon     *horizon
	deadRows    *deadRows
	blocked     *blocked
	checkpoints *checkpoints
	conditions  map[Signal]condition
	failed      map[Signal]error
}

func newReading() *reading {
	return &reading{conditions: map[Signal]condition{}, failed: map[Signal]error{}}
}

// judgement is what follows from one signal. The zero value is that all is well.
type judgement struct {
	pause    string
	shrink   string
	budget   float64 // when shrink is not ""
	blockers string
}

func (j *judgement) waitFor(format string, args ...any) {
	j.pause = join("; ", j.pause, fmt.Sprintf(format, args...))
}

func (j *judgement) shrinkTo(budget float64, format string, args ...any) {
	j.budget, j.shrink = budget, fmt.Sprintf(format, args...)
}

// patience is for how long a signal may be unknown before that counts.
const patience = 15 * time.Second

// decider makes verdicts of readings. It knows no clock and no server.
type decider struct {
	limits  *Limits
	log     *slog.Logger
	signals []Signal

	known      map[Signal]time.Time // when it was last read
	judgements map[Signal]judgement
	failed     map[Signal]error // why it could not be read since
	failure    error            // why the last look failed as a whole
	looks      int              // how many did not

	lag         *lagJudge
	count       countJudge
	slots       slotJudge
	archive     archiveJudge
	horizon     *horizonJudge
	deadRows    deadRowsJudge
	blocked     blockedJudge
	checkpoints checkpointJudge
}

func newDecider(now time.Time, limits *Limits, log *slog.Logger) *decider {
	d := &decider{
		limits:      limits,
		log:         log,
		signals:     limits.signals(),
		known:       map[Signal]time.Time{},
		judgements:  map[Signal]judgement{},
		failed:      map[Signal]error{},
		lag:         newLagJudge(limits),
		count:       countJudge{limits: limits, log: log},
		slots:       slotJudge{limits: limits},
		archive:     archiveJudge{limits: limits},
		horizon:     newHorizonJudge(limits),
		deadRows:    deadRowsJudge{limits: limits, log: log},
		blocked:     blockedJudge{limits: limits},
		checkpoints: checkpointJudge{limits: limits},
	}
	for _, s := range d.signals {
		d.known[s] = now
	}
	return d
}

// observe takes in a reading. Signals that it does not hold keep their last judgement until they count as unknown.
func (d *decider) observe(now time.Time, r *reading) {
	d.failure = nil
	d.looks++
	if r.standbys != nil {
		d.lag.observe(now, r.standbys)
	}
	for _, s := range d.signals {
		if err := r.failed[s]; err != nil {
			d.failed[s] = err
			continue
		}
		if result, ok := d.judge(now, s, r); ok {
			d.judgements[s], d.known[s] = result, now
			delete(d.failed, s)
		}
	}
}

func (d *decider) judge(now time.Time, s Signal, r *reading) (result judgement, ok bool) {
	switch {
	case s == ReplicaLag && r.standbys != nil:
		return d.lag.replicaLag(now, r.standbys), true
	case s == SyncLag && r.standbys != nil:
		return d.lag.syncLag(now, r.standbys), true
	case s == Replicas && r.standbys != nil:
		return d.count.judge(now, r.standbys), true
	case s == SlotRetained && r.slots != nil:
		return d.slots.judge(now, r.slots), true
	case s == ArchiveBacklog && r.archive != nil:
		return d.archive.judge(now, r.archive), true
	case s == SnapshotAge && r.horizon != nil:
		return d.horizon.judge(now, r.horizon), true
	case s == DeadRows && r.deadRows != nil:
		return d.deadRows.judge(now, r.deadRows), true
	case s == BlockedSessions && r.blocked != nil:
		return d.blocked.judge(now, r.blocked), true
	case s == Checkpoints && r.checkpoints != nil:
		return d.checkpoints.judge(now, r.checkpoints), true
	}
	if c, found := r.conditions[s]; found {
		return judgeCondition(now, s, c), true
	}
	return result, false
}

// observeFailure takes in a look that read nothing.
func (d *decider) observeFailure(err error) { d.failure = err }

// forget drops signals that this role, or this server, will not show.
func (d *decider) forget(hidden []Signal, why error) {
	var dropped []string
	d.signals = slices.DeleteFunc(d.signals, func(s Signal) bool {
		if slices.Contains(hidden, s) {
			dropped = append(dropped, string(s))
			return true
		}
		return false
	})
	if len(dropped) > 0 {
		d.log.Warn(fmt.Sprintf("the backfill goes on without the throttle signals %s, which cannot be read: %v", strings.Join(dropped, ", "), why))
	}
}

func (d *decider) verdict(now time.Time) Verdict {
	var unknown []Signal
	var pauses, shrinks, blockers []string
	v := Verdict{Budget: 1}
	for _, s := range d.signals {
		if now.Sub(d.known[s]) >= patience {
			unknown = append(unknown, s)
			continue
		}
		j := d.judgements[s]
		pauses, shrinks, blockers = append(pauses, j.pause), append(shrinks, j.shrink), append(blockers, j.blockers)
		if j.shrink != "" {
			v.Budget = max(v.Budget*j.budget, leastBudget)
		}
	}
	if len(unknown) > 0 && d.limits.OnUnknown != ContinueOnUnknown {
		pauses = append(pauses, d.explainUnknown(now, unknown))
	}
	v.Reason = join("; ", pauses...)
	v.Pause = v.Reason != ""
	if !v.Pause {
		v.Reason = join("; ", shrinks...)
	}
	v.Blockers = join("; ", blockers...)
	return v
}

func (d *decider) explainUnknown(now time.Time, unknown []Signal) string {
	why := d.failure
	shortest := now.Sub(d.known[unknown[0]])
	names := make([]string, len(unknown))
	for i, s := range unknown {
		names[i] = string(s)
		shortest = min(shortest, now.Sub(d.known[s]))
		if why == nil {
			why = d.failed[s]
		}
	}
	what := strings.Join(names, ", ")
	if len(unknown) > 1 && len(unknown) == len(d.signals) {
		what = "the load of the server"
	}
	text := fmt.Sprintf("%s unknown for %s", what, seconds(shortest))
	if why != nil {
		text += ": " + strings.Join(strings.Fields(why.Error()), " ")
	}
	return text
}
