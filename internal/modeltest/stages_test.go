package modeltest

import (
	"errors"
	"slices"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/expand"
)

// transition is a step of a stage: it is taken when it is legal.
type transition struct {
	name   string
	weight int
	legal  func(w *table, p *progress) bool
	take   func(w *table, p *progress)
}

var transitions = []transition{
	{"expand", 30, func(w *table, p *progress) bool { return !p.expanded }, (*table).expand},
	{"undo of expand", 2, func(w *table, p *progress) bool { return p.expanded && !p.away && p.sync == nil && p.refilled == nil }, (*table).undoExpand},
	{"sync", 20, func(w *table, p *progress) bool { return p.expanded && !p.away && p.sync == nil && !p.composite }, (*table).applySync},
	{"change of sync", 10, func(w *table, p *progress) bool { return p.sync != nil && !p.away }, (*table).applySync},
	{"undo of sync", 4, func(w *table, p *progress) bool { return p.sync != nil && !p.away }, (*table).undoSync},
	{"backfill", 20, func(w *table, p *progress) bool { return p.expanded && !p.away }, (*table).applyBackfill},
	{"undo of backfill", 4, func(w *table, p *progress) bool { return p.filled != nil && !p.away }, (*table).undoBackfill},
	{"backfill of the old side", 6, func(w *table, p *progress) bool { return p.expanded && !p.away && w.refills(p) }, (*table).applyRefill},
	{"quarantine", 20, func(w *table, p *progress) bool { return p.expanded && !p.away }, (*table).quarantine},
	{"drop", 8, func(w *table, p *progress) bool { return dropsComeBack && p.expanded && p.archive == nil }, (*table).drop},
	{"undo of quarantine", 20, func(w *table, p *progress) bool { return p.away && p.archive == nil }, (*table).undoQuarantine},
	{"undo of drop", 20, func(w *table, p *progress) bool { return p.archive != nil }, (*table).undoDrop},
}

// refills reports whether a backfill of the old side may run.
func (w *table) refills(p *progress) bool {
	return len(p.reverses) > 0
}

// dropsComeBack switches drops and their undo on.
const dropsComeBack = true

// step takes some legal transition of some change.
func (w *table) step() {
	p := pick(w.random, w.model.changes...)
	total := 0
	for _, tr := range transitions {
		if tr.legal(w, p) {
			total += tr.weight
		}
	}
	for n := w.random.IntN(total); ; {
		for _, tr := range transitions {
			if !tr.legal(w, p) {
				continue
			}
			if n -= tr.weight; n < 0 {
				w.note("STAGE %s of %s", tr.name, p.name)
				tr.take(w, p)
				w.compare()
				w.compareTwin()
				return
			}
		}
	}
}

func (w *table) expandSpec(p *progress) *expand.Spec {
	spec := &expand.Spec{ID: pg.FormatID(w.name, p.newColumns()), Table: w.name, Columns: make(map[string]expand.Column), ForceDestroy: true}
	for _, c := range p.new {
		spec.Columns[c.name] = expand.Column{Type: c.typ}
	}
	return spec
}

func (w *table) expand(p *progress) {
	_, err := w.expandSpec(p).Apply(w.t.Context(), w.env)
	w.must(err)
	p.expanded = true
	if len(w.sessions) > 0 {
		w.grant(w.db.Name+newRole, p.newColumns())
	}
}

func (w *table) undoExpand(p *progress) {
	if p.filled != nil {
		w.undoBackfill(p)
	}
	revert(w, w.expandSpec(p))
	p.expanded = false
	for id, r := range w.model.rows {
		empty := make(row)
		for _, c := range p.newColumns() {
			empty[c] = nil
		}
		w.model.rows[id] = r.with(empty)
	}
	w.must(w.copyToTwin(w.all, w.ids()))
}

func revert[S any](w *table, spec stage.Stage[S]) {
	w.t.Helper()
	_, err := spec.Revert(w.t.Context(), w.env)
	w.must(err)
}

func (w *table) syncSpec(p *progress) *dualwrite.Spec {
	forward := p.forwards[0].sql()
	spec := &dualwrite.Spec{ID: dualwrite.ID(w.name, forward), Table: w.name, Schema: ledger.DefaultSchema, Conflict: dualwrite.KeepBoth, Forward: forward}
	if p.sync != nil {
		spec.Forward, spec.Reverse, spec.Conflict = p.sync.forward.sql(), p.sync.reverse.sql(), p.sync.conflict
	}
	return spec
}

// applySync makes a sync, or changes the one that is there.
func (w *table) applySync(p *progress) {
	p.sync = &rules{forward: pick(w.random, p.forwards...), conflict: pick(w.random, dualwrite.Conflicts...)}
	if chance(w.random, 75) && len(p.reverses) > 0 {
		p.sync.reverse = pick(w.random, p.reverses...)
	}
	spec := w.syncSpec(p)
	w.note("  forward %v, reverse %v, conflict %s", spec.Forward, spec.Reverse, spec.Conflict)
	if chance(w.random, 25) {
		_, err := spec.Check(w.t.Context(), w.env)
		w.must(err)
	}
	_, err := spec.Apply(w.t.Context(), w.env)
	w.must(err)
	state, err := spec.Read(w.t.Context(), w.env)
	w.must(err)
	if state == nil {
		w.fail("the sync does not work as the ledger says, right after it was applied")
	}
}

func (w *table) undoSync(p *progress) {
	revert(w, w.syncSpec(p))
	p.sync = nil
}

func (w *table) backfillSpec(j *job) *backfill.Spec {
	set := j.set.sql()
	return &backfill.Spec{ID: backfill.ID(w.name, set), Table: w.name, Set: set, Where: j.where(), Overwrite: j.overwrite}
}

func (w *table) applyBackfill(p *progress) {
	j := &job{set: pick(w.random, p.forwards...), odd: chance(w.random, 10), overwrite: p.composite || (p.overwritable && chance(w.random, 10))}
	w.runBackfill(p, j)
	p.filled = j
}

// applyRefill fills the old side of rows that have none.
func (w *table) applyRefill(p *progress) {
	j := &job{set: pick(w.random, p.reverses...)}
	w.runBackfill(p, j)
	p.refilled = j
}

func (w *table) runBackfill(p *progress, j *job) {
	spec := w.backfillSpec(j)
	w.note("  set %v, where %q, overwrite %t", spec.Set, spec.Where, spec.Overwrite)
	if p.sync != nil {
		knew := *p.sync
		j.knew = &knew
	}
	ids, err := w.model.backfill(p, j)
	if err != nil {
		w.fail("the model cannot be backfilled: %v", err)
	}
	state, err := spec.Apply(w.t.Context(), w.env)
	w.must(err)
	if state.Status != ledger.Complete {
		w.fail("the backfill is %s", state.Status)
	}
	w.must(w.copyToTwin(w.all, ids))
	if w.model.remaining(j) {
		w.fail("rows still need work, and the backfill is complete")
	}
}

func (w *table) undoBackfill(p *progress) {
	revert(w, w.backfillSpec(p.filled))
	p.filled = nil
}

func (w *table) contractSpec(p *progress) *contract.Spec {
	columns := slices.Sorted(slices.Values(p.oldColumns()))
	return &contract.Spec{ID: pg.FormatID(w.name, columns), Table: w.name, Columns: columns, Mode: contract.Quarantine, WritersMigrated: true, Schema: ledger.DefaultSchema}
}

// quarantine takes the old columns away, unless a backfill that reads them is not done.
func (w *table) quarantine(p *progress) {
	if w.contract(p, w.contractSpec(p)) {
		p.away = true
	}
}

// drop drops the old columns, out of quarantine or at once, and keeps what is nowhere else.
func (w *table) drop(p *progress) {
	spec := w.contractSpec(p)
	spec.Mode, spec.Archive = contract.Drop, true
	if p.away {
		spec.Prior = contract.Quarantine
	}
	if !w.contract(p, spec) {
		return
	}
	p.away, p.archive = true, w.model.clone()
	empty := make(row)
	for _, c := range p.oldColumns() {
		empty[c] = nil
	}
	for id, r := range w.model.rows {
		w.model.rows[id] = r.with(empty)
	}
	w.must(w.copyToTwin(w.all, w.ids()))
}

// contract applies a contract, and reports whether it went ahead.
func (w *table) contract(p *progress, spec *contract.Spec) bool {
	if p.name == "names" && w.model.tidy {
		w.db.Exec(w.t, `DROP FUNCTION tidy CASCADE`) // It names the column.
		w.model.tidy = false
	}
	refused := !p.away && p.filled != nil && w.model.remaining(p.filled)
	_, err := spec.Apply(w.t.Context(), w.env)
	var f *finding.Finding
	if refused {
		if !errors.As(err, &f) || !strings.Contains(f.Summary, "would need the backfill") {
			w.fail("rows need work, and the contract gave %v", err)
		}
		w.note("  refused: %s", f.Summary)
		return false
	}
	w.must(err)
	return true
}

func (w *table) undoQuarantine(p *progress) {
	revert(w, w.contractSpec(p))
	p.away = false
	w.restoreNotNull(p)
}

func (w *table) undoDrop(p *progress) {
	spec := w.contractSpec(p)
	spec.Mode, spec.Archive = contract.Drop, true
	revert(w, spec)
	for id, was := range w.model.rows {
		old := p.restored(id, was)
		if old.absent(p.oldColumns()) {
			continue
		}
		now, err := w.model.into(was, was.with(old), p)
		w.must(err)
		w.model.rows[id] = now
	}
	p.away, p.archive = false, nil
	w.restoreNotNull(p)
	w.must(w.copyToTwin(w.all, w.ids()))
}

// restoreNotNull makes the old columns NOT NULL again, those that can be.
func (w *table) restoreNotNull(p *progress) {
	for c := range p.notNull {
		if slices.ContainsFunc(w.ids(), func(id int64) bool { return w.model.rows[id][c] == nil }) {
			w.note("  %s stays nullable", c)
			delete(p.notNull, c)
		}
	}
}
