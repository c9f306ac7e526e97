package modeltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

const (
	defaultCrowds = 2
	// steps of stages in one seed, and the transactions that the writers do at least between two of them.
	steps              = 16
	transactions       = 40
	rowsBefore   int64 = 400
)

// TestManyWritersAtOnce runs eight writers at full speed while the stages of two changes come and go. No write may fail, and
// every one must leave what the table of events says.
func TestManyWritersAtOnce(t *testing.T) {
	for _, seed := range seeds(t, defaultCrowds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := &crowd{table: newTable(t, seed, drawCrowd), states: &timeline{}, allowed: map[string]bool{"full_name": true, "price": true}, gaps: seed/2%2 == 1}
			c.fill()
			c.states.begin(c.model.state())
			writers, err := pgtest.StartWriters(t.Context(), c.db.ConnString(), pgtest.WriterOptions{Transaction: c.transaction, Seed: seed})
			c.must(err)
			c.waitForWriters()
			for range steps {
				c.stepAmongWriters()
				c.waitForWriters()
			}
			stats := writers.Stop()
			if stats.Errors > 0 {
				c.fail("%d of %d transactions failed: %v", stats.Errors, stats.Transactions, stats.FirstErrors[0])
			}
			c.checkEnd()
			t.Logf("%d transactions\n%s", stats.Transactions, strings.Join(c.history, "\n"))
		})
	}
}

func drawCrowd(w *table, known []*change) {
	w.name = pg.TableName{Schema: "public", Name: "users"}
	for _, known := range known[:2] {
		// One expression, so that whoever fills a row fills in the same.
		known.forwards = known.forwards[len(known.forwards)/2:][:1]
		w.model.changes = append(w.model.changes, &progress{change: known, notNull: make(map[string]bool)})
	}
	w.model.partitioned = w.seed%2 == 0
}

// fill makes the rows that are there before anything begins.
func (c *crowd) fill() {
	rows := make(map[int64]row)
	for id := range rowsBefore {
		id++
		rows[id] = row{"part": text(fmt.Sprint(id % 3)), "full_name": c.drawValue("full_name", nil), "price": c.drawValue("price", nil)}
	}
	p := &parameters{}
	c.db.Exec(c.t, fmt.Sprintf("INSERT INTO %s (id, part, full_name, price) VALUES %s", c.name.SQL(), c.values(p, []string{"full_name", "price"}, rows)), p.args...)
	c.model.rows = rows
	c.must(c.copyToTwin(c.all, c.ids()))
	c.model.rows = nil
	c.lastID.Store(rowsBefore)
}

// waitForWriters waits until the writers have done something since.
func (c *crowd) waitForWriters() {
	for target := c.done.Load() + transactions; c.done.Load() < target; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		failure := c.failure
		c.mu.Unlock()
		if failure != nil {
			c.fail("%v", failure)
		}
	}
}

// deploy changes what the writers may name.
func (c *crowd) deploy(columns []string, allowed bool) {
	c.gate.Lock()
	defer c.gate.Unlock()
	for _, column := range columns {
		c.allowed[column] = allowed
	}
}

// among takes a step while the state before it and the one after it are both possible.
func (c *crowd) among(p *progress, change func(), apply func()) {
	change()
	c.states.begin(c.model.state())
	apply()
	c.states.end()
}

// stepAmongWriters takes a random step that is legal.
func (c *crowd) stepAmongWriters() {
	p := pick(c.random, c.model.changes...)
	var possible []func(*progress)
	add := func(weight int, legal bool, take func(*progress)) {
		for range weight {
			if legal {
				possible = append(possible, take)
			}
		}
	}
	add(1, !p.expanded, c.expandAmong)
	add(4, p.expanded && !p.away && p.sync == nil, c.syncAmong)
	add(2, p.expanded && !p.away && p.sync != nil, c.syncAmong)
	add(1, p.expanded && !p.away && p.sync != nil, c.undoSyncAmong)
	add(4, p.expanded && !p.away, c.backfillAmong)
	add(1, p.filled != nil && !p.away, func(p *progress) { c.note("STAGE undo of the backfill of %s", p.name); c.undoBackfill(p) })
	add(4, p.expanded && !p.away, c.quarantineAmong)
	add(4, p.away, c.undoQuarantineAmong)
	pick(c.random, possible...)(p)
}

func (c *crowd) expandAmong(p *progress) {
	c.note("STAGE expand of %s", p.name)
	c.among(p, func() { p.expanded = true }, func() { c.expand(p) })
	c.deploy(p.newColumns(), true)
}

func (c *crowd) syncAmong(p *progress) {
	next := &rules{forward: p.forwards[0], conflict: pick(c.random, dualwrite.KeepBoth, dualwrite.OldWins, dualwrite.NewWins)}
	if chance(c.random, 75) {
		next.reverse = p.reverses[0]
	}
	c.among(p, func() { p.sync = next }, func() {
		spec := c.syncSpec(p)
		c.note("STAGE sync of %s: reverse %v, conflict %s", p.name, spec.Reverse, spec.Conflict)
		_, err := spec.Apply(c.t.Context(), c.env)
		c.must(err)
	})
}

func (c *crowd) undoSyncAmong(p *progress) {
	c.note("STAGE undo of the sync of %s", p.name)
	spec := c.syncSpec(p)
	c.among(p, func() { p.sync = nil }, func() { revert(c.table, spec) })
}

// backfillAmong runs a backfill, to its end or until it is interrupted.
func (c *crowd) backfillAmong(p *progress) {
	j := &job{set: p.forwards[0]}
	ctx := c.t.Context()
	interrupted := chance(c.random, 30)
	if interrupted {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.random.IntN(30))*time.Millisecond)
		defer cancel()
	}
	c.note("STAGE backfill of %s (to be interrupted: %t)", p.name, interrupted)
	env := c.env
	if interrupted {
		// A cancel request may reach the server late, and hit what the session does next. So it has sessions of its own.
		env = stagetest.NewEnv(c.t, c.db.ConnString())
	}
	_, err := c.backfillSpec(j).Apply(ctx, env)
	var f *finding.Finding
	switch {
	case interrupted && errors.Is(err, context.DeadlineExceeded):
		c.note("  interrupted")
	case (p.sync == nil || c.gaps) && errors.As(err, &f) && strings.Contains(f.Summary, "keep coming"):
		c.note("  %s", f.Summary)
	case err != nil:
		c.must(err)
	}
	if p.filled == nil && err != nil {
		return // It may have ended before it was recorded.
	}
	p.filled = j
}

func (c *crowd) quarantineAmong(p *progress) {
	c.note("STAGE quarantine of %s", p.name)
	c.deploy(p.oldColumns(), false)
	p.away = true
	c.states.begin(c.model.state())
	_, err := c.contractSpec(p).Apply(c.t.Context(), c.env)
	var f *finding.Finding
	if errors.As(err, &f) && (strings.Contains(f.Summary, "would need the backfill") || strings.Contains(f.Summary, "still reads")) {
		c.note("  refused: %s", f.Summary)
		p.away = false
		c.states.begin(c.model.state())
		c.states.end()
		c.deploy(p.oldColumns(), true)
		return
	}
	c.must(err)
	c.states.end()
}

func (c *crowd) undoQuarantineAmong(p *progress) {
	c.note("STAGE undo of the quarantine of %s", p.name)
	spec := c.contractSpec(p)
	c.among(p, func() { p.away = false }, func() { revert(c.table, spec) })
	c.deploy(p.oldColumns(), true)
}

// checkEnd compares every row with what its last writer left: nothing but a backfill or a sync has touched it since, and
// only to fill a new side that was missing. Then it completes the changes, and no row is left.
func (c *crowd) checkEnd() {
	c.compareWithTwin(func(was row) []row { return c.model.fillings(was) })
	for _, p := range c.model.changes {
		if p.away {
			c.undoQuarantineAmong(p)
		}
		if !p.expanded {
			c.expandAmong(p)
		}
		c.runToEnd(p)
	}
	c.compareWithTwin(func(was row) []row {
		return slices.DeleteFunc(c.model.fillings(was), func(r row) bool {
			return slices.ContainsFunc(c.model.changes, func(p *progress) bool { return (&job{set: p.forwards[0], knew: p.sync}).needs(0, r) })
		})
	})
}

func (c *crowd) runToEnd(p *progress) {
	_, err := c.backfillSpec(&job{set: p.forwards[0]}).Apply(c.t.Context(), c.env)
	c.must(err)
}

func (c *crowd) compareWithTwin(expected func(was row) []row) {
	rows, err := c.all.Query(c.t.Context(), fmt.Sprintf(
		"SELECT coalesce(t.id, twin.id), to_jsonb(t), twin.content FROM %s t FULL JOIN (SELECT id, content FROM %s WHERE content IS NOT NULL) twin ON twin.id = t.id",
		c.name.SQL(), twin))
	c.must(err)
	var id int64
	var document, content []byte
	var differences []string
	_, err = pgx.ForEachRow(rows, []any{&id, &document, &content}, func() error {
		if document == nil || content == nil {
			differences = append(differences, fmt.Sprintf("id %d: %s, its twin %s", id, document, content))
			return nil
		}
		is, err := c.decode(document)
		if err != nil {
			return err
		}
		twin, err := c.decode(content)
		if err != nil {
			return err
		}
		all := expected(twin)
		if !slices.ContainsFunc(all, func(r row) bool { return sameIn(slices.Collect(maps.Keys(is)), is, r) }) {
			differences = append(differences, fmt.Sprintf("id %d:\n  has      %s\n  its last writer left %s", id, is, twin))
		}
		return nil
	})
	c.must(err)
	if len(differences) > 0 {
		c.fail("%d rows are not as their last writers left them:\n%s", len(differences), strings.Join(differences[:min(5, len(differences))], "\n"))
	}
}
