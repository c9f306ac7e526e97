package preflight

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

func (r *Report) judgeObjects(limits Limits) {
	if len(r.PrimaryKey) == 0 {
		r.note(NoPrimaryKey, "The table has no primary key, so that a single row cannot be named for certain: an archive of dropped values needs a key.")
	}
	for _, i := range r.Indexes {
		if !i.Valid {
			r.note(InvalidIndex, "Index %s is not valid: every write keeps it up, and no query uses it. A CREATE INDEX CONCURRENTLY was interrupted, or still runs.", i.Name)
		}
	}
	unvalidated := func(name, definition string) {
		r.note(UnvalidatedConstraint, "Constraint %s was never validated, so that rows may break it, and an update of such a row fails: %s.", name, definition)
	}
	for _, c := range r.Constraints {
		if !c.Validated {
			unvalidated(c.Name, c.Definition)
		}
	}
	for _, k := range r.ForeignKeys {
		if !k.Validated {
			unvalidated(k.Name, k.Definition)
		}
	}
	if r.ColumnSlotsLeft < limits.ColumnSlots {
		r.note(FewColumnSlots, "Only %d more columns can ever be added: a table has 1600 numbers for columns, and dropped ones keep theirs.", r.ColumnSlotsLeft)
	}
	var triggers []string
	for _, t := range r.Triggers {
		if t.Fires() && !t.Managed {
			triggers = append(triggers, t.Name)
		}
	}
	if len(triggers) > 0 {
		r.note(UserTriggers, "Triggers fire for rows that are written, and may do so for each row of a backfill: %s.", strings.Join(triggers, ", "))
	}
}

func (r *Report) judgeReplication(limits Limits) {
	var publications []string
	updates := false
	for _, p := range r.Publications {
		publications = append(publications, p.Name)
		updates = updates || p.Updates
	}
	if len(publications) > 0 {
		r.note(LogicalReplication, "Subscribers get every row that a backfill updates, and must have a new column before it is written. Publications: %s.",
			strings.Join(publications, ", "))
	}
	if updates && (r.ReplicaIdentity == "nothing" || r.ReplicaIdentity == "default" && len(r.PrimaryKey) == 0) {
		r.note(NoReplicaIdentity, "Updates are published, and the table has no replica identity, so that every UPDATE and DELETE fails.")
	}
	for _, s := range r.Standbys {
		if s.LagBytes == nil || s.LagSeconds == nil {
			continue
		}
		if lag := time.Duration(*s.LagSeconds * float64(time.Second)); lag >= limits.StandbyLag && *s.LagBytes >= limits.StandbyLagBytes {
			r.note(StandbyBehind, "Standby %s is %s and %s behind.", s.Name, lag.Round(time.Second), size(*s.LagBytes))
		}
	}
	for _, s := range r.Slots {
		switch {
		case s.Status != nil && (*s.Status == "unreserved" || *s.Status == "lost"):
			r.note(SlotRetainsWAL, "Replication slot %s is losing the WAL that it needs, or has lost it (wal_status %s).", s.Name, *s.Status)
		case s.RetainedBytes != nil && *s.RetainedBytes >= limits.RetainedBytes:
			r.note(SlotRetainsWAL, "The server keeps %s of WAL for replication slot %s, and a backfill adds to it until the slot goes on.", size(*s.RetainedBytes), s.Name)
		}
	}
}

func (r *Report) judgeStorage(limits Limits) {
	s := &r.Size
	if bytes := s.HeapBytes + s.ToastBytes; bytes >= limits.LargeBytes || s.EstimatedRows != nil && *s.EstimatedRows >= limits.LargeRows {
		r.note(LargeTable, "The table has %s and %s without its indexes: whatever scans or rewrites it takes long.", s.rows(), size(bytes))
	}
	if s.EstimatedRows == nil {
		r.note(NoStatistics, "The table, or a partition of it, was never analyzed, so that nobody knows how large a change is. To change that: ANALYZE %s;", r.Table.SQL())
	}
	if !s.Autovacuum {
		r.note(AutovacuumOff, "Autovacuum is off for the table or the server, so that a backfill leaves its dead rows to whoever runs VACUUM.")
	}
	if s.EstimatedRows != nil && s.DeadRows >= max(limits.DeadRows, *s.EstimatedRows/5) {
		r.note(ManyDeadRows, "The table has %s dead rows: vacuum does not keep up, or is held back.", humanize.Comma(s.DeadRows))
	}
	if full, known := s.fullness(limits); known && full >= tooFull {
		r.note(TooFullForHOT, "Pages are %.0f%% full (fillfactor %d), so that a new version of a row finds no room in its page, and every index has to be written.",
			min(full, 1)*100, s.FillFactor)
	}
}

// tooFull is the share of a page from which on few updates stay in their page. Widths leave alignment out, so that full pages look
// somewhat emptier than they are.
const tooFull = 0.85

// fullness returns which share of its pages the rows take, from their average width.
func (s *Size) fullness(limits Limits) (share float64, known bool) {
	if s.RowBytes == nil || s.RowsPerPage == nil || *s.RowsPerPage == 0 || float64(*s.EstimatedRows) < *s.RowsPerPage*float64(limits.FullPages) {
		return 0, false
	}
	const header = 28 // of a row: its header of 24 bytes, and the pointer to it
	return *s.RowsPerPage * (*s.RowBytes + header) / s.perPage, true
}

func (s *Size) rows() string {
	if s.EstimatedRows == nil {
		return "an unknown number of rows"
	}
	return "~" + humanize.Comma(*s.EstimatedRows) + " rows"
}

// Summary says the most important of it in a few lines.
func (r *Report) Summary() string {
	lines := []string{fmt.Sprintf("%s: %s, %s, %s without indexes.", r.Table, r.Kind, r.Size.rows(), size(r.Size.HeapBytes+r.Size.ToastBytes))}
	for _, h := range r.Hazards {
		lines = append(lines, string(h.Type)+": "+h.Message)
	}
	for _, u := range r.Unseen {
		lines = append(lines, "Not seen: "+u)
	}
	return strings.Join(lines, "\n")
}
