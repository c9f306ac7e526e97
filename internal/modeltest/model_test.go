package modeltest

import (
	"errors"
	"maps"
	"slices"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// What the server is expected to say against a write.
var (
	errReject  = errors.New("23000") // integrity_constraint_violation
	errNotNull = errors.New("23502") // not_null_violation
	errColumn  = errors.New("42703") // undefined_column
)

// rules are a sync as the model knows it. Without reverse its reverse is empty.
type rules struct {
	forward, reverse side
	conflict         dualwrite.Conflict
}

// job is a backfill as the model knows it.
type job struct {
	set side
	// odd narrows it to the rows of odd ids.
	odd, overwrite bool
	// knew are the rules of the sync that there was when it ran.
	knew *rules
}

// explained reports whether the new side says all that the old side does, so that a NULL in it was meant.
func (j *job) explained(r row) bool {
	if j.overwrite || j.knew == nil || len(j.knew.reverse) == 0 {
		return false
	}
	given := false
	for _, c := range j.set.columns() {
		if !slices.Contains(j.knew.forward.columns(), c) {
			return false
		}
		given = given || r[c] != nil
	}
	computed := j.knew.reverse.of(r)
	return given && !slices.ContainsFunc(j.knew.reverse.columns(), func(c string) bool { return !same(r[c], computed[c]) })
}

// where returns the condition in SQL.
func (j *job) where() string {
	if j.odd {
		return "id % 2 = 1"
	}
	return ""
}

// progress is a change with what has been done of it.
type progress struct {
	*change
	expanded bool
	// away is true while a contract has the old columns in quarantine, or has dropped them.
	away bool
	// archive are the rows as they were when the old columns were dropped; nil while they are there.
	archive map[int64]row
	sync    *rules
	// filled are the complete backfills that the ledger has, of the new columns and of the old ones.
	filled, refilled *job
	// notNull are the old columns that are NOT NULL at present.
	notNull map[string]bool
}

// model is a table in memory.
type model struct {
	changes []*progress
	rows    map[int64]row
	// tidy is true while the table has a trigger of the user's own that changes full_name.
	tidy        bool
	partitioned bool
}

func (m *model) clone() map[int64]row { return maps.Clone(m.rows) }

// before is what becomes of a row on its way into the table: an update has a former row, an insert none. A backfill
// bypasses the sync of its own change.
func (m *model) before(was, now row, filling *progress) (row, error) {
	if m.tidy {
		now = tidied(now)
	}
	for _, p := range m.changes {
		if p == filling || p.sync == nil || p.archive != nil {
			continue
		}
		var err error
		if p.away {
			now = p.mirrored(was, now)
		} else if now, err = p.settled(was, now); err != nil {
			return nil, err
		}
	}
	return now, nil
}

// into is before, the row's move to another partition and the table's constraints.
func (m *model) into(was, now row, filling *progress) (row, error) {
	now, err := m.before(was, now, filling)
	if err == nil && was != nil && m.partitioned && !same(was["part"], now["part"]) {
		now, err = m.before(nil, now, filling) // The server deletes it here and inserts it there.
	}
	if err != nil {
		return nil, err
	}
	for _, p := range m.changes {
		for c := range p.notNull {
			if now[c] == nil && !p.away {
				return nil, errNotNull
			}
		}
	}
	return now, nil
}

// state of a side in an event.
type state int

const (
	untouched state = iota // an update leaves it as it is
	missing                // an insert without it, or an update that leaves it without any
	given                  // an insert with it
	changed                // an update that changes it
)

// settled is the table of events: what a live sync makes of a row.
func (p *progress) settled(was, now row) (row, error) {
	oldSide, newSide := p.states(was, now)
	forward, reverse := now.with(p.sync.forward.of(now)), now.with(p.sync.reverse.of(now))
	switch {
	// INSERT
	case was == nil && oldSide == given && newSide == missing:
		return forward, nil
	case was == nil && oldSide == missing && newSide == given:
		return reverse, nil
	case was == nil && newSide == given:
		return now, nil
	// UPDATE
	case oldSide == changed && newSide == changed:
		return p.conflict(now, forward, reverse)
	case oldSide == changed:
		return forward, nil
	case newSide == changed:
		return reverse, nil
	case newSide == missing: // An INSERT that gives neither side, or an UPDATE of something else: the row is healed.
		return forward, nil
	}
	return now, nil
}

// states tells what an event does to either side. Without reverse nobody has said which columns the old side is: it is all
// that forward makes something of, so that it is always given, and changed when the outcome is.
func (p *progress) states(was, now row) (oldSide, newSide state) {
	olds, news := p.sync.reverse.columns(), p.newColumns()
	if was == nil {
		oldSide, newSide = given, given
		if len(olds) > 0 && now.absent(olds) {
			oldSide = missing
		}
		if now.absent(news) {
			newSide = missing
		}
		return oldSide, newSide
	}
	switch {
	case len(olds) > 0 && !sameIn(olds, was, now):
		oldSide = changed
	case len(olds) == 0 && !sameIn(news, p.sync.forward.of(was), p.sync.forward.of(now)):
		oldSide = changed
	}
	switch {
	case !sameIn(news, was, now):
		newSide = changed
	case now.absent(news):
		newSide = missing
	}
	return oldSide, newSide
}

func (p *progress) conflict(now, forward, reverse row) (row, error) {
	switch p.sync.conflict {
	case dualwrite.OldWins:
		return forward, nil
	case dualwrite.NewWins:
		return reverse, nil
	case dualwrite.Reject:
		follows := sameIn(p.newColumns(), now, forward) || (len(p.sync.reverse) > 0 && sameIn(p.oldColumns(), now, reverse))
		if !follows {
			return nil, errReject
		}
	}
	return now, nil
}

// mirrored is what the mirror does while the old columns are away: nobody writes them, so that they follow the new ones.
func (p *progress) mirrored(was, now row) row {
	reverse := now.with(p.sync.reverse.of(now))
	switch {
	case was == nil && now.absent(p.oldColumns()) && !now.absent(p.newColumns()):
		return reverse
	case was != nil && !sameIn(p.newColumns(), was, now):
		return reverse
	}
	return now
}

// needs reports whether a row needs work by a backfill.
func (j *job) needs(id int64, r row) bool {
	if j.odd && id%2 == 0 {
		return false
	}
	if j.explained(r) {
		return false
	}
	computed := j.set.of(r)
	return slices.ContainsFunc(j.set.columns(), func(c string) bool {
		if j.overwrite {
			return !same(r[c], computed[c])
		}
		return r[c] == nil && computed[c] != nil
	})
}

// fill is what a backfill makes of a row that needs work.
func (j *job) fill(r row) row {
	computed := j.set.of(r)
	filled := r.with(nil)
	for _, c := range j.set.columns() {
		if j.overwrite || r[c] == nil {
			filled[c] = computed[c]
		}
	}
	return filled
}

// maxVisits bounds how often a backfill comes back to a row.
const maxVisits = 3

// backfill runs a backfill of a change over the table. It returns the ids of the rows that it wrote.
func (m *model) backfill(p *progress, j *job) (ids []int64, err error) {
	for _, id := range slices.Sorted(maps.Keys(m.rows)) {
		// A trigger of the user's may leave a row that needs work again.
		for range maxVisits {
			was := m.rows[id]
			if !j.needs(id, was) {
				break
			}
			now, err := m.into(was, j.fill(was), p)
			if err != nil {
				return nil, err
			}
			m.rows[id] = now
			ids = append(ids, id)
		}
	}
	return slices.Compact(ids), nil
}

// remaining reports whether any row needs work.
func (m *model) remaining(j *job) bool {
	for id, r := range m.rows {
		if j.needs(id, r) {
			return true
		}
	}
	return false
}

// restored is what the undo of a drop gives a row on its old side: the archived values if the row is the same and its new
// side, too, else what reverse gives.
func (p *progress) restored(id int64, r row) row {
	was, archived := p.archive[id]
	archived = archived && same(was["part"], r["part"]) // The part is of the key.
	if p.sync == nil || len(p.sync.reverse) == 0 {
		if !archived {
			was = nil
		}
	} else if !archived || !sameIn(p.newColumns(), was, r) {
		was = p.sync.reverse.of(r)
	}
	old := make(row)
	for _, c := range p.oldColumns() {
		old[c] = was[c]
	}
	return old
}
