package backfill

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

// ownSessions is how many sessions a job takes besides its workers': one for the heartbeat, one to watch the server.
const ownSessions = 2

const (
	// beat is how often the job renews its lease, says how it goes and asks what operators want.
	beat = ledger.LeaseTTL / 10
	// logEvery is how often the job's log tells how it goes.
	logEvery = 10 * time.Second
	// memory is the weight of the past in the rate that people see, per beat.
	memory = 0.9
)

// heartbeat renews the lease until ctx ends. A renewal that fails is tried again: the fencing token, not the clock, is
// what keeps two runs apart.
func (j *job) heartbeat(ctx context.Context) error {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	last, rows, rate, logged := time.Now(), j.rows.Load(), 0.0, time.Now()
	for {
		now := time.Now()
		if elapsed := now.Sub(last); elapsed > 0 {
			current := float64(j.rows.Load()-rows) / elapsed.Seconds()
			if rate == 0 {
				rate = current
			}
			rate = memory*rate + (1-memory)*current
			last, rows = now, j.rows.Load()
		}
		report := j.report(now, rate)
		if now.Sub(logged) > logEvery {
			logged = now
			j.logProgress(ctx, report)
		}
		err := j.env.DB.Tx(ctx, pgx.TxOptions{}, bookkeeping, func(tx pgx.Tx) error { return j.beat(ctx, tx, report) })
		if errors.Is(err, ledger.ErrLeaseLost) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			j.env.Log.WarnContext(ctx, "lease not renewed", "backfill", j.spec.ID, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// beat tells the ledger how it goes, and the gate what operators ask for.
func (j *job) beat(ctx context.Context, tx pgx.Tx, report ledger.Report) error {
	control, err := j.env.Ledger.Heartbeat(ctx, tx, j.lease, report)
	if err == nil {
		j.gate.steer(control)
	}
	return err
}

// report says how it goes.
func (j *job) report(now time.Time, rate float64) ledger.Report {
	report := ledger.Report{RowsPerSecond: rate, HOTPercent: j.interleaving.hotPercent(), LimitedBy: j.pace.limitedBy()}
	if waits, why := j.gate.state(now); waits != "" {
		report.LimitedBy, report.Throttled = waits, why
	}
	report.Blockers = j.monitor.Verdict(now).Blockers
	if j.interleaving.isUseless(now) {
		report.Blockers = joined(report.Blockers, "old row versions cannot be removed, because some transaction may still see them, so that rows are moved to other pages")
	}
	return report
}

func joined(parts ...string) (text string) {
	for _, part := range parts {
		if part != "" && text != "" {
			text += "; "
		}
		text += part
	}
	return text
}

func (j *job) logProgress(ctx context.Context, r ledger.Report) {
	fields := []any{
		"backfill", j.spec.ID, "percent", j.percent(), "rows", j.rows.Load(), "rows_per_second", int64(r.RowsPerSecond),
		"limited_by", r.LimitedBy,
	}
	if r.HOTPercent != nil {
		fields = append(fields, "hot_percent", int64(*r.HOTPercent))
	}
	if r.Throttled != "" {
		fields = append(fields, "throttled", r.Throttled)
	}
	if r.Blockers != "" {
		fields = append(fields, "blockers", r.Blockers)
	}
	j.env.Log.InfoContext(ctx, "backfill runs", fields...)
}

// applicationName tells everybody who looks at pg_stat_activity what a session does.
func (j *job) applicationName() string {
	name := fmt.Sprintf("%s: backfill %d%% of %s", j.env.DB.ApplicationName(), j.percent(), j.spec.Table)
	const longest = 63 // bytes; the server cuts it there (NAMEDATALEN)
	return strings.ToValidUTF8(name[:min(len(name), longest)], "")
}

// percent is how far the walk is.
func (j *job) percent() int64 {
	if total := j.total.Load(); total > 0 {
		return 100 * j.done.Load() / total
	}
	return 0
}
