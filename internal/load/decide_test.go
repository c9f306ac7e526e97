package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// start is when every test begins.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// step is one look, and what has to follow from it.
type step struct {
	at       time.Duration // since start
	read     reading
	pause    string // the whole reason; "" is no pause
	shrink   string // the whole reason, of a budget below 1
	budget   float64
	blockers string // part of it
}

// play gives the looks to a decider and compares what follows. It returns what was logged.
func play(t *testing.T, limits Limits, steps []step) string {
	t.Helper()
	var log bytes.Buffer
	d := newDecider(start, &limits, slog.New(slog.NewTextHandler(&log, nil)))
	for i, s := range steps {
		now := start.Add(s.at)
		r := newReading()
		if s.read.conditions == nil {
			s.read.conditions = r.conditions
		}
		if s.read.failed == nil {
			s.read.failed = r.failed
		}
		d.observe(now, &s.read)
		want := Verdict{Pause: s.pause != "", Budget: 1, Reason: s.pause + s.shrink}
		if s.budget != 0 {
			want.Budget = s.budget
		}
		got := d.verdict(now)
		if !strings.Contains(got.Blockers, s.blockers) || (s.blockers == "") != (got.Blockers == "") {
			t.Errorf("step %d: blockers = %q, want %q", i, got.Blockers, s.blockers)
		}
		got.Blockers = ""
		if got != want {
			t.Errorf("step %d: verdict = %+v\nwant %+v", i, got, want)
		}
	}
	return log.String()
}

func position(n int64) *int64 { return &n }

// behind is a standby that is so many bytes behind.
func behind(wal, gap int64, lag time.Duration) *standbys {
	return &standbys{wal: wal, all: []standby{{
		pid: 1, name: "one", streaming: true, replayed: position(wal - gap), flushed: position(wal), replayLag: lag,
	}}}
}

func TestReplicaLag(t *testing.T) {
	limits := Limits{ReplicaLag: 10 * time.Second, ReplicaLagBytes: 16 * mebibyte}
	const wal = gibibyte
	for name, steps := range map[string][]step{
		"late, but few bytes": {{read: reading{standbys: behind(wal, mebibyte, time.Minute)}}},
		"many bytes, but not late": {
			{read: reading{standbys: behind(wal, gibibyte, time.Second)}},
		},
		"both, and then hysteresis in time": {
			{read: reading{standbys: behind(wal, 40*mebibyte, 12*time.Second)}, pause: "replica_lag of one: 12 s and 40 MiB > 10 s and 16 MiB"},
			{at: time.Second, read: reading{standbys: behind(wal, 20*mebibyte, 8*time.Second)}, pause: "replica_lag of one: 8 s and 20 MiB, until < 5 s or 1 MiB"},
			{at: 2 * time.Second, read: reading{standbys: behind(wal+gibibyte, 20*mebibyte, 4*time.Second)}},
			{at: 3 * time.Second, read: reading{standbys: behind(wal+gibibyte, 20*mebibyte, 8*time.Second)}},
		},
		"both, and then hysteresis in bytes, with a figure that stays": {
			{read: reading{standbys: behind(wal, 40*mebibyte, 12*time.Second)}, pause: "replica_lag of one: 12 s and 40 MiB > 10 s and 16 MiB"},
			{at: time.Second, read: reading{standbys: behind(wal, mebibyte+1, 12*time.Second)}, pause: "replica_lag of one: 12 s and 1 MiB, until < 5 s or 1 MiB"},
			{at: 2 * time.Second, read: reading{standbys: behind(wal, 0, 12*time.Second)}},
		},
		"a standby that fell silent has a figure that stays small": {
			{read: reading{standbys: behind(wal, 0, time.Millisecond)}},
			{at: time.Second, read: reading{standbys: behind(wal+40*mebibyte, 40*mebibyte, time.Millisecond)}},
			{at: 13 * time.Second, read: reading{standbys: behind(wal+80*mebibyte, 80*mebibyte, time.Millisecond)}, pause: "replica_lag of one: 12 s and 80 MiB > 10 s and 16 MiB"},
		},
		"figures that the role may not see": {
			{read: reading{standbys: &standbys{wal: wal, all: []standby{{pid: 1, name: "one", hidden: true}}}}},
		},
		"a standby that vanished": {
			{read: reading{standbys: behind(wal, 40*mebibyte, 12*time.Second)}, pause: "replica_lag of one: 12 s and 40 MiB > 10 s and 16 MiB"},
			{at: time.Second, read: reading{standbys: &standbys{wal: wal}}},
		},
	} {
		t.Run(name, func(t *testing.T) { play(t, limits, steps) })
	}
	t.Run("one of the thresholds", func(t *testing.T) {
		play(t, Limits{ReplicaLag: 10 * time.Second}, []step{
			{read: reading{standbys: behind(wal, 1, 12*time.Second)}, pause: "replica_lag of one: 12 s and 1 B > 10 s"},
		})
		play(t, Limits{ReplicaLagBytes: 16 * mebibyte}, []step{
			{read: reading{standbys: behind(wal, 17*mebibyte, 0)}, pause: "replica_lag of one: 0 s and 17 MiB > 16 MiB"},
			{read: reading{standbys: behind(wal, 2*mebibyte, 0)}, pause: "replica_lag of one: 0 s and 2 MiB, until < 1 MiB"},
			{read: reading{standbys: behind(wal, mebibyte, 0)}},
		})
	})
	t.Run("a standby that is late on purpose", func(t *testing.T) {
		limits.IgnoreReplicas = []string{"one"}
		play(t, limits, []step{{read: reading{standbys: behind(wal, gibibyte, time.Hour)}}})
	})
}

func TestSyncLag(t *testing.T) {
	flushed := func(wal, gap int64, lag time.Duration, synchronous bool) reading {
		return reading{standbys: &standbys{wal: wal, all: []standby{{
			pid: 1, name: "one", streaming: true, synchronous: synchronous, flushed: position(wal - gap), flushLag: lag,
		}}}}
	}
	limits := Limits{SyncLag: time.Second}
	for name, steps := range map[string][]step{
		"hysteresis": {
			{read: flushed(1000, 10, 1500*time.Millisecond, true), pause: "sync_lag of one: 1.5 s > 1 s"},
			{read: flushed(1000, 10, 500*time.Millisecond, true), pause: "sync_lag of one: 0.5 s, until < 0.3 s"},
			{read: flushed(1000, 10, 200*time.Millisecond, true)},
			{read: flushed(1000, 10, 500*time.Millisecond, true)},
		},
		"a figure that stays although all is flushed": {{read: flushed(1000, 0, time.Minute, true)}},
		"one that nobody waits for":                   {{read: flushed(1000, 10, time.Minute, false)}},
		"a frozen one, while commits wait for it and write nothing more": {
			{read: flushed(1000, 10, time.Millisecond, true)},
			{at: time.Second, read: flushed(1000, 10, time.Millisecond, true), pause: ""},
			{at: 2 * time.Second, read: flushed(1000, 10, time.Millisecond, true), pause: "sync_lag of one: 2 s > 1 s"},
		},
	} {
		t.Run(name, func(t *testing.T) { play(t, limits, steps) })
	}
}

func TestLostReplica(t *testing.T) {
	count := func(n int, more ...standby) reading {
		found := &standbys{wal: 1, all: more}
		for i := range n {
			found.all = append(found.all, standby{pid: int32(i), streaming: true})
		}
		return reading{standbys: found}
	}
	log := play(t, Limits{LostReplica: time.Minute}, []step{
		{read: count(1)},
		{at: time.Second, read: count(2)},
		{at: 2 * time.Second, read: count(1), pause: "replicas: 1 streaming, 2 before, waits for at most 60 s more"},
		{at: 3 * time.Second, read: count(1, standby{hidden: true})},
		{at: 4 * time.Second, read: count(1, standby{pid: 9}), pause: "replicas: 1 streaming, 2 before, waits for at most 60 s more"},
		{at: 34 * time.Second, read: count(1), pause: "replicas: 1 streaming, 2 before, waits for at most 30 s more"},
		{at: 64 * time.Second, read: count(1)},
		{at: 65 * time.Second, read: count(0), pause: "replicas: 0 streaming, 1 before, waits for at most 60 s more"},
	})
	if want := "1 of 2 standbys have not come back in 60 s"; strings.Count(log, "\n") != 1 || !strings.Contains(log, want) {
		t.Errorf("log = %s, want one line with %q", log, want)
	}
}

func TestSlotRetained(t *testing.T) {
	one := func(keep int64, s slot) reading {
		s.name, s.active = "one", true
		return reading{slots: &slots{keep: keep, all: []slot{s}}}
	}
	for name, steps := range map[string][]step{
		"bytes, with hysteresis": {
			{read: one(-1, slot{status: "extended", retained: 10 * gibibyte})},
			{read: one(-1, slot{status: "extended", retained: 11 * gibibyte}), pause: "slot_retained of one: 11 GiB > 10 GiB"},
			{read: one(-1, slot{status: "extended", retained: 5 * gibibyte}), pause: "slot_retained of one: 5 GiB, until < 5 GiB"},
			{read: one(-1, slot{status: "reserved", retained: 4 * gibibyte})},
			{read: one(-1, slot{status: "extended", retained: 10 * gibibyte})},
		},
		"little room, with hysteresis": {
			{read: one(8*gibibyte, slot{headroom: position(1000 * mebibyte)}), pause: "slot_retained of one: 1000 MiB until it loses the WAL that it needs, < 1 GiB"},
			{read: one(8*gibibyte, slot{headroom: position(1500 * mebibyte)}), pause: "slot_retained of one: 1.5 GiB until it loses the WAL that it needs, until > 2 GiB"},
			{read: one(8*gibibyte, slot{headroom: position(3 * gibibyte)})},
			{read: one(8*gibibyte, slot{headroom: position(1500 * mebibyte)})},
		},
		"a server that never keeps a gibibyte": {
			{read: one(64*mebibyte, slot{headroom: position(60 * mebibyte)})},
			{read: one(64*mebibyte, slot{headroom: position(10 * mebibyte)}), pause: "slot_retained of one: 10 MiB until it loses the WAL that it needs, < 16 MiB"},
		},
		"the last moment": {
			{read: one(64*mebibyte, slot{status: "unreserved", headroom: position(-1)}), pause: "slot_retained of one: it loses the WAL that it needs at the next checkpoint (wal_status unreserved)"},
		},
		"a slot that was dropped": {
			{read: one(-1, slot{retained: 11 * gibibyte}), pause: "slot_retained of one: 11 GiB > 10 GiB"},
			{read: reading{slots: &slots{keep: -1}}},
		},
	} {
		t.Run(name, func(t *testing.T) { play(t, Limits{SlotRetained: 10 * gibibyte}, steps) })
	}
}

func TestArchiveBacklog(t *testing.T) {
	at := func(segment int64, last string) reading {
		return reading{archive: &archive{on: true, segment: segment, segmentSize: 16 * mebibyte, last: last}}
	}
	for name, steps := range map[string][]step{
		"hysteresis": {
			{read: at(256+43, "000000010000000100000000")},
			{read: at(256+44, "000000010000000100000000"), pause: "archive_backlog: 43 segments > 42"},
			{read: at(256+44, "000000020000000100000017"), pause: "archive_backlog: 20 segments, until < 20"},
			{read: at(256+44, "000000020000000100000018")},
			{read: at(256+44, "000000020000000100000017")},
		},
		"names that are no segments tell nothing new": {
			{read: at(100, "000000010000000000000063")},
			{read: at(142, "00000002.history")},
			{read: at(143, "00000002.history"), pause: "archive_backlog: 43 segments > 42"},
			{read: at(143, "000000020000000000000060.00000028.backup"), pause: "archive_backlog: 43 segments > 42"},
		},
		"nothing was ever archived": {
			{read: at(500, "")},
			{read: at(542, "")},
			{read: at(543, ""), pause: "archive_backlog: 43 segments > 42"},
		},
		"archiving was switched off": {
			{read: at(100, "000000010000000000000000"), pause: "archive_backlog: 99 segments > 42"},
			{read: reading{archive: &archive{segment: 100, segmentSize: 16 * mebibyte}}},
		},
	} {
		t.Run(name, func(t *testing.T) { play(t, Limits{ArchiveBacklog: 42}, steps) })
	}
}

func TestSegmentNumber(t *testing.T) {
	for _, c := range []struct {
		file string
		size int64
		want int64
		ok   bool
	}{
		{"000000010000000000000001", 16 * mebibyte, 1, true},
		{"0000000A00000002000000FF", 16 * mebibyte, 2*256 + 255, true},
		{"000000010000000200000003", gibibyte, 2*4 + 3, true},
		{"00000002.history", 16 * mebibyte, 0, false},
		{"", 16 * mebibyte, 0, false},
		{"0000000100000000000000zz", 16 * mebibyte, 0, false},
	} {
		if got, ok := segmentNumber(c.file, c.size); got != c.want || ok != c.ok {
			t.Errorf("%q with %d bytes: %d, %v", c.file, c.size, got, ok)
		}
	}
}

func TestSnapshotAge(t *testing.T) {
	session := func(age time.Duration, xmin int64) holder {
		return holder{Session: pg.Session{PID: 7, Application: "report", Age: pg.Seconds(age.Seconds())}, xmin: &xmin}
	}
	hidden := func(xmin int64) holder { return holder{Session: pg.Session{PID: 7, Age: -1}, xmin: &xmin} }
	slot := func(xmin int64) holder { return holder{slot: "one", Session: pg.Session{Age: -1}, xmin: &xmin} }
	prepared := func(age time.Duration, xid int64) holder {
		return holder{Session: pg.Session{Application: "gid", Age: pg.Seconds(age.Seconds())}, xid: &xid}
	}
	at := func(next int64, all ...holder) reading { return reading{horizon: &horizon{next: next, all: all}} }
	for name, steps := range map[string][]step{
		"a session, first as a note": {
			{read: at(1000, session(14*time.Minute, 900))},
			{read: at(1000, session(16*time.Minute, 900)), blockers: `vacuum is held back by pid 7, application "report"`},
			{read: at(1000, session(61*time.Minute, 900)), blockers: "pid 7", pause: "snapshot_age: 61 min > 60 min"},
			{read: at(1000)},
		},
		"a long transaction that takes a new snapshot for each statement": {
			{read: at(1000)},
			{at: time.Second, read: at(1100, session(3*time.Hour, 1050))},
		},
		"a session whose age the role may not see": {
			{read: at(1000, hidden(1000))},
			{at: time.Minute, read: at(1100, hidden(1000))},
			{at: 17 * time.Minute, read: at(1100, hidden(1000)), blockers: "pid 7"},
			{at: 62 * time.Minute, read: at(1100, hidden(1000)), blockers: "pid 7", pause: "snapshot_age: 61 min > 60 min"},
		},
		"a slot": {
			{read: at(1000, slot(500))},
			{at: 61 * time.Minute, read: at(1100, slot(500)), blockers: `replication slot "one"`, pause: "snapshot_age: 61 min > 60 min"},
		},
		"a slot that moves": {
			{read: at(1000, slot(999))},
			{at: 61 * time.Minute, read: at(1100, slot(1099))},
		},
		"a prepared transaction": {
			{read: at(1000, prepared(2*time.Hour, 999)), blockers: `prepared transaction "gid"`, pause: "snapshot_age: 2 h 0 min > 60 min"},
		},
		"the oldest one counts": {
			{read: at(1000, session(20*time.Minute, 900), prepared(90*time.Minute, 990)), blockers: `by prepared transaction "gid", open for 1h30m0s; pid 7`, pause: "snapshot_age: 90 min > 60 min"},
		},
	} {
		t.Run(name, func(t *testing.T) { play(t, Limits{SnapshotAge: time.Hour}, steps) })
	}
}

func TestFullXID(t *testing.T) {
	const epoch = 1 << 32
	for _, c := range []struct{ next, xid, want int64 }{
		{1000, 900, 900},
		{1000, 1001, 1001},
		{3*epoch + 5, 4, 3*epoch + 4},
		{3*epoch + 5, epoch - 10, 3*epoch - 10},
	} {
		if got := fullXID(c.next, c.xid); got != c.want {
			t.Errorf("fullXID(%d, %d) = %d, want %d", c.next, c.xid, got, c.want)
		}
	}
}

func TestDeadRows(t *testing.T) {
	const million = 1_000_000
	rows := func(d deadRows) reading { return reading{deadRows: &d} }
	limits := Limits{DeadRows: million, DeadRowsShare: 0.2}
	wait := func(dead, left string) string {
		return "dead_rows: " + dead + ", limit 2,000,000, waits for vacuum for at most " + left + " more"
	}
	for name, c := range map[string]struct {
		steps []step
		log   string
	}{
		"a share of many rows": {steps: []step{
			{read: rows(deadRows{live: 10 * million, dead: 2 * million})},
			{read: rows(deadRows{live: 10 * million, dead: 2*million + 1}), pause: wait("2,000,001", "5 min")},
			{read: rows(deadRows{live: 10 * million, dead: million}), pause: wait("1,000,000", "5 min")},
			{read: rows(deadRows{live: 10 * million, dead: million - 1})},
			{read: rows(deadRows{live: 10 * million, dead: million})},
		}},
		"few rows": {steps: []step{{read: rows(deadRows{live: 1000, dead: million})}}},
		"a vacuum that could not remove all": {steps: []step{
			{read: rows(deadRows{live: 10 * million, dead: 5 * million}), pause: wait("5,000,000", "5 min")},
			{read: rows(deadRows{live: 10 * million, dead: 4 * million, vacuums: 1})},
			{read: rows(deadRows{live: 10 * million, dead: 6 * million, vacuums: 1})},
			{read: rows(deadRows{live: 10 * million, dead: 6*million + 1, vacuums: 1}), pause: wait("6,000,001", "5 min")},
		}},
		"a vacuum that takes long": {steps: []step{
			{read: rows(deadRows{live: 10 * million, dead: 5 * million}), pause: wait("5,000,000", "5 min")},
			{at: 4 * time.Minute, read: rows(deadRows{live: 10 * million, dead: 5 * million, running: true}), pause: "dead_rows: 5,000,000, limit 2,000,000, a vacuum is running"},
			{at: 60 * time.Minute, read: rows(deadRows{live: 10 * million, dead: 5 * million, running: true}), pause: "dead_rows: 5,000,000, limit 2,000,000, a vacuum is running"},
			{at: 61 * time.Minute, read: rows(deadRows{live: 10 * million, dead: 5 * million}), pause: wait("5,000,000", "4 min")},
		}},
		"no vacuum comes": {log: "5,000,000 dead rows, and no vacuum came in 5 min", steps: []step{
			{read: rows(deadRows{live: 10 * million, dead: 5 * million}), pause: wait("5,000,000", "5 min")},
			{at: 5 * time.Minute, read: rows(deadRows{live: 10 * million, dead: 5 * million})},
			{at: 6 * time.Minute, read: rows(deadRows{live: 10 * million, dead: 50 * million})},
			{at: 7 * time.Minute, read: rows(deadRows{live: 10 * million, dead: million, vacuums: 1})},
			{at: 8 * time.Minute, read: rows(deadRows{live: 10 * million, dead: 5 * million, vacuums: 1}), pause: wait("5,000,000", "5 min")},
		}},
		"writers leave no work for a vacuum": {steps: []step{
			{read: rows(deadRows{live: 10 * million, dead: 5 * million}), pause: wait("5,000,000", "5 min")},
			{read: rows(deadRows{live: 10 * million, dead: 4 * million, running: true, spared: true}), pause: "dead_rows: 4,000,000, limit 2,000,000, a vacuum is running"},
			{read: rows(deadRows{live: 10 * million, dead: 4 * million, spared: true})},
		}},
		"autovacuum never comes": {log: "5,000,000 dead rows will stay", steps: []step{
			{read: rows(deadRows{forsaken: 5 * million})},
			{read: rows(deadRows{forsaken: 6 * million})},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			log := play(t, limits, c.steps)
			if !strings.Contains(log, c.log) || (c.log == "") != (log == "") || strings.Count(log, "\n") > 1 {
				t.Errorf("log = %s, want one line with %q", log, c.log)
			}
		})
	}
}

func TestDeadRowsAsAShareAlone(t *testing.T) {
	play(t, Limits{DeadRowsShare: 0.2}, []step{
		{read: reading{deadRows: &deadRows{dead: 10}}},
		{read: reading{deadRows: &deadRows{live: 100, dead: 20}}},
		{read: reading{deadRows: &deadRows{live: 100, dead: 21}}, pause: "dead_rows: 21, limit 20, waits for vacuum for at most 5 min more"},
	})
}

func TestBlockedSessions(t *testing.T) {
	waits := func(seconds ...pg.Seconds) reading {
		found := &blocked{}
		for _, s := range seconds {
			found.waiters = append(found.waiters, waiter{Session: pg.Session{PID: 9, Age: -1}, waited: s})
		}
		return reading{blocked: found}
	}
	play(t, Limits{BlockedSessions: 500 * time.Millisecond}, []step{
		{read: waits()},
		{at: 1 * time.Second, read: waits(0.8, 2), budget: 0.5, shrink: "blocked_sessions: 2, up to 2 s > 0.5 s", blockers: "pid 9, waits 0.8 s for the backfill; pid 9, waits 2 s"},
		{at: 2 * time.Second, read: waits(0.8), budget: 0.25, shrink: "blocked_sessions: 1, up to 0.8 s > 0.5 s", blockers: "pid 9"},
		{at: 6 * time.Second, read: waits(), budget: 0.25, shrink: "blocked_sessions: none any more, batches grow again"},
		{at: 7 * time.Second, read: waits(), budget: 0.5, shrink: "blocked_sessions: none any more, batches grow again"},
		{at: 12 * time.Second, read: waits()},
	})
	floor := make([]step, 10)
	for i := range floor {
		floor[i] = step{read: waits(1), budget: max(1.0/float64(int(2)<<i), leastBudget), shrink: "blocked_sessions: 1, up to 1 s > 0.5 s", blockers: "pid 9"}
	}
	play(t, Limits{BlockedSessions: 500 * time.Millisecond}, floor)
}

func TestCheckpoints(t *testing.T) {
	counts := func(requested, timed int64) reading {
		return reading{checkpoints: &checkpoints{requested, timed}}
	}
	for name, steps := range map[string][]step{
		"requested ones": {
			{read: counts(100, 5)},
			{at: time.Minute, read: counts(101, 5)},
			{at: 2 * time.Minute, read: counts(102, 5), budget: 0.5, shrink: "checkpoints: 2 of 2 in 10 min were requested, not timed"},
			{at: 3 * time.Minute, read: counts(102, 7), budget: 0.5, shrink: "checkpoints: 2 of 4 in 10 min were requested, not timed"},
			{at: 4 * time.Minute, read: counts(102, 8)},
			{at: 5 * time.Minute, read: counts(104, 8), budget: 0.5, shrink: "checkpoints: 4 of 7 in 10 min were requested, not timed"},
			{at: 15 * time.Minute, read: counts(104, 8)},
		},
		"long ago": {
			{read: counts(0, 0)},
			{at: time.Minute, read: counts(1, 0)},
			{at: 12 * time.Minute, read: counts(2, 0)},
		},
		"statistics that were reset": {
			{read: counts(100, 5)},
			{at: time.Minute, read: counts(0, 0)},
			{at: 2 * time.Minute, read: counts(1, 0)},
		},
	} {
		t.Run(name, func(t *testing.T) { play(t, Limits{Checkpoints: 2}, steps) })
	}
}

func TestConditions(t *testing.T) {
	is := func(c condition) reading { return reading{conditions: map[Signal]condition{"queue": c}} }
	play(t, Limits{Queries: []Query{{Name: "queue"}}}, []step{
		{read: is(condition{})},
		{read: is(condition{true, "true"}), pause: "queue: true"},
		{read: is(condition{true, "2.5"}), pause: "queue: 2.5 > 0"},
		{read: is(condition{false, "-1"})},
	})
}

func TestUnknown(t *testing.T) {
	limits := Limits{ArchiveBacklog: 42, Queries: []Query{{Name: "queue"}}}
	well := reading{archive: &archive{}, conditions: map[Signal]condition{"queue": {}}}
	broken := reading{archive: &archive{}, failed: map[Signal]error{"queue": errors.New("no such\ntable")}}
	t.Run("one signal", func(t *testing.T) {
		play(t, limits, []step{
			{read: well},
			{at: 14 * time.Second, read: broken},
			{at: 15 * time.Second, read: broken, pause: "queue unknown for 15 s: no such table"},
			{at: 16 * time.Second, read: well},
		})
	})
	t.Run("the last judgement holds until then", func(t *testing.T) {
		play(t, limits, []step{
			{read: reading{archive: &archive{}, conditions: map[Signal]condition{"queue": {true, "true"}}}, pause: "queue: true"},
			{at: 14 * time.Second, read: broken, pause: "queue: true"},
		})
	})
	t.Run("and then nothing, if so wished", func(t *testing.T) {
		limits := limits
		limits.OnUnknown = ContinueOnUnknown
		play(t, limits, []step{
			{read: reading{archive: &archive{}, conditions: map[Signal]condition{"queue": {true, "true"}}}, pause: "queue: true"},
			{at: 14 * time.Second, read: broken, pause: "queue: true"},
			{at: 15 * time.Second, read: broken},
		})
	})
	t.Run("the whole server, without any look", func(t *testing.T) {
		d := newDecider(start, &limits, slog.New(slog.DiscardHandler))
		d.observeFailure(errors.New("connection refused"))
		if v := d.verdict(start.Add(14 * time.Second)); v != (Verdict{Budget: 1}) {
			t.Errorf("verdict within the time of patience = %+v", v)
		}
		want := Verdict{Pause: true, Budget: 1, Reason: "the load of the server unknown for 20 s: connection refused"}
		if v := d.verdict(start.Add(20 * time.Second)); v != want {
			t.Errorf("verdict = %+v, want %+v", v, want)
		}
	})
	t.Run("what the server will never show does not count", func(t *testing.T) {
		d := newDecider(start, &limits, slog.New(slog.DiscardHandler))
		d.forget([]Signal{ArchiveBacklog, "queue"}, errors.New("permission denied"))
		if v := d.verdict(start.Add(time.Hour)); v != (Verdict{Budget: 1}) {
			t.Errorf("verdict = %+v", v)
		}
	})
}

func TestSeveralReasons(t *testing.T) {
	play(t, Limits{ArchiveBacklog: 1, Checkpoints: 1, BlockedSessions: time.Second, Queries: []Query{{Name: "queue"}}}, []step{
		{read: reading{checkpoints: &checkpoints{}}},
		{
			read:   reading{checkpoints: &checkpoints{requested: 3}, blocked: &blocked{waiters: []waiter{{Session: pg.Session{PID: 9}, waited: 2}}}},
			budget: 0.25, blockers: "pid 9",
			shrink: "blocked_sessions: 1, up to 2 s > 1 s; checkpoints: 3 of 3 in 10 min were requested, not timed",
		},
		{
			read: reading{
				archive:    &archive{on: true, segment: 9, segmentSize: 16 * mebibyte, last: "000000010000000000000001"},
				conditions: map[Signal]condition{"queue": {true, "true"}},
			},
			budget: 0.25, blockers: "pid 9",
			pause: "archive_backlog: 7 segments > 1; queue: true",
		},
	})
}

func TestNoLimitsAskForNothing(t *testing.T) {
	if got := parts(&Limits{}); len(got) != 0 {
		t.Errorf("%d statements are sent without a limit", len(got))
	}
	d := newDecider(start, &Limits{}, slog.New(slog.DiscardHandler))
	if v := d.verdict(start.Add(time.Hour)); v != (Verdict{Budget: 1}) {
		t.Errorf("verdict = %+v", v)
	}
}

func TestLimitsSurviveJSON(t *testing.T) {
	limits := Defaults()
	limits.Queries = []Query{{Name: "queue", SQL: "SELECT 1"}}
	limits.IgnoreReplicas = []string{"late"}
	text, err := json.Marshal(limits)
	if err != nil {
		t.Fatal(err)
	}
	var got Limits
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, limits) {
		t.Errorf("%s becomes %+v", text, got)
	}
	if len(limits.signals()) != len(builtIn)+1 {
		t.Errorf("the defaults switch on %v only", limits.signals())
	}
}

func TestTimeline(t *testing.T) {
	line := timeline{keep: time.Minute}
	add := func(at time.Duration, position int64) { line.add(start.Add(at), position) }
	for i := range 10 {
		add(time.Duration(i)*time.Second, 100)
	}
	if len(line.samples) != 2 {
		t.Errorf("%d samples are kept of one position", len(line.samples))
	}
	add(10*time.Second, 200)
	now := start.Add(12 * time.Second)
	for _, c := range []struct {
		position int64
		atLeast  time.Duration
		atMost   time.Duration
		seen     bool
	}{
		{position: 99, atLeast: 12 * time.Second},
		{position: 100, atLeast: 2 * time.Second},
		{position: 101, atLeast: 2 * time.Second, atMost: 3 * time.Second, seen: true},
		{position: 200, atMost: 3 * time.Second, seen: true},
		{position: 201, atMost: 2 * time.Second, seen: true},
	} {
		atMost, seen := line.atMost(now, c.position)
		if atLeast := line.atLeast(now, c.position); atLeast != c.atLeast || atMost != c.atMost || seen != c.seen {
			t.Errorf("%d: at least %s, at most %s, %v", c.position, atLeast, atMost, seen)
		}
	}
	add(90*time.Second, 300)
	if len(line.samples) != 2 {
		t.Errorf("samples that are too old are kept: %v", line.samples)
	}
	add(91*time.Second, 50)
	if len(line.samples) != 1 {
		t.Errorf("positions of another server are kept: %v", line.samples)
	}
}
