package modeltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// crowd is many writers on one table at the same time. Each keeps the twin in its transaction: what the row was when the
// statement left it. So every write can be checked against the table of events, and the end of every row against its
// last write.
type crowd struct {
	*table
	states *timeline
	// gate is locked to deploy other releases: no transaction is in flight then. Writers name only what is allowed.
	gate    sync.RWMutex
	allowed map[string]bool
	lastID  atomic.Int64
	// gaps means that writers write NULL into single columns of the new side. Such rows need work by a backfill, again and
	// again, so that it may not come to an end, nor a contract.
	gaps bool
	done atomic.Int64 // transactions

	mu      sync.Mutex
	failure error // the first
}

// timeline are the states that the stages were in. While a step is taken, both the former and the next one are possible.
type timeline struct {
	mu     sync.Mutex
	states []*model
	first  int // the oldest that is still possible
}

func (t *timeline) begin(next *model) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.states = append(t.states, next)
}

func (t *timeline) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first = len(t.states) - 1
}

func (t *timeline) oldest() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first
}

// since returns the states that were possible at any time since then.
func (t *timeline) since(oldest int) []*model {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.states[oldest:])
}

// state is a copy of the model without its rows.
func (m *model) state() *model {
	frozen := *m
	frozen.rows = nil
	frozen.changes = nil
	for _, p := range m.changes {
		copied := *p
		copied.notNull = maps.Clone(p.notNull)
		frozen.changes = append(frozen.changes, &copied)
	}
	return &frozen
}

// fillings are what backfills and healing syncs may have made of a row since its last write: each change has its new side
// filled, or not yet.
func (m *model) fillings(r row) []row {
	all := []row{r}
	for _, p := range m.changes {
		if !p.expanded {
			continue
		}
		for _, r := range all {
			if filled := (&job{set: p.forwards[0]}).fill(r); !sameIn(p.newColumns(), r, filled) {
				all = append(all, filled)
			}
		}
	}
	return all
}

// transaction is the work of a writer.
func (c *crowd) transaction(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	c.gate.RLock()
	defer c.gate.RUnlock()
	defer c.done.Add(1)
	oldest := c.states.oldest()
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		ids := make([]int64, pick(random, 1, 1, 1, 2, 3))
		for i := range ids {
			ids[i] = 1 + random.Int64N(c.lastID.Load())
		}
		slices.Sort(ids) // So that no two writers wait for each other.
		for _, id := range slices.Compact(ids) {
			if err := c.write(ctx, tx, random, id, oldest); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.failure == nil {
			c.failure = err
		}
	}
	return err
}

// outcome is what a write may have made of a row, in one of the possible states; a nil row is none.
type outcome func(m *model, was row) (row, error)

func (c *crowd) write(ctx context.Context, tx pgx.Tx, random *rand.Rand, id int64, oldest int) error {
	sql, args, expected := c.drawWrite(random, &id)
	var document []byte
	err := tx.QueryRow(ctx, sql, args...).Scan(&document)
	gone := errors.Is(err, pgx.ErrNoRows)
	if err != nil && !gone {
		return fmt.Errorf("%s %v: %w", sql, args, err)
	}
	if gone {
		return nil // Another writer deleted it, or has not committed it yet.
	}
	possible := c.states.since(oldest)
	is, err := c.decode(document)
	if err != nil {
		return err
	}
	was, err := c.twinOf(ctx, tx, id)
	if err != nil {
		return err
	}
	matches, explanations := false, make(map[string]bool)
	for _, m := range possible {
		for _, former := range c.formers(m, was) {
			now, err := expected(m, former)
			if err != nil {
				explanations[err.Error()] = true
				continue
			}
			explanations[now.String()] = true
			matches = matches || sameIn(slices.Collect(maps.Keys(now)), is, now)
		}
	}
	if !matches {
		return fmt.Errorf("%s %s\nmade of the row\n  %s\nthe row\n  %s\nwhich nothing explains; expected was one of\n  %s", sql, shown(args), was, is,
			strings.Join(slices.Sorted(maps.Keys(explanations)), "\n  "))
	}
	if strings.HasPrefix(sql, "DELETE") {
		is = nil
	}
	return c.keep(ctx, tx, id, is)
}

// formers are the rows that a write may have found.
func (c *crowd) formers(m *model, was row) []row {
	if was == nil {
		return []row{nil}
	}
	return m.fillings(was)
}

func shown(args []any) string {
	var list []string
	for _, a := range args {
		if v, ok := a.(value); ok {
			a = show(v)
		}
		list = append(list, fmt.Sprint(a))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// drawWrite draws a statement that returns the row that it leaves. An insert gets another id.
func (c *crowd) drawWrite(random *rand.Rand, id *int64) (sql string, args []any, expected outcome) {
	given := make(row)
	if chance(random, 75) {
		for _, p := range c.model.changes {
			if chance(random, 50) {
				c.give(random, given, p.oldColumns())
			}
			if chance(random, 50) {
				c.give(random, given, p.newColumns())
			}
		}
	}
	if len(given) == 0 || chance(random, 20) {
		given["note"] = text(fmt.Sprint(random.IntN(1000)))
	}
	table, p := c.name.SQL(), &parameters{}
	insert := func() string {
		columns := slices.Sorted(maps.Keys(given))
		given["part"] = text(fmt.Sprint(*id % 3)) // It follows from the id, so that an upsert finds the row.
		return fmt.Sprintf("INSERT INTO %s AS t (%s) VALUES %s", table, pg.QuoteAll(append([]string{"id", "part"}, columns...)),
			c.values(p, columns, map[int64]row{*id: given}))
	}
	update := func(m *model, was row) (row, error) { return m.into(was, was.with(given), nil) }
	switch n := random.IntN(100); {
	case n < 15:
		*id = c.lastID.Add(1)
		// An upsert may have taken the id in the meantime.
		return insert() + " ON CONFLICT DO NOTHING RETURNING to_jsonb(t)", p.args, func(m *model, _ row) (row, error) { return m.into(nil, given, nil) }
	case n < 30:
		columns := slices.Sorted(maps.Keys(given))
		sql := insert() + " ON CONFLICT (id, part) DO UPDATE SET "
		for i, column := range columns {
			if i > 0 {
				sql += ", "
			}
			sql += fmt.Sprintf("%s = excluded.%[1]s", pg.Quote(column))
		}
		return sql + " RETURNING to_jsonb(t)", p.args, func(m *model, was row) (row, error) {
			proposed, err := m.into(nil, given, nil)
			if err != nil || was == nil {
				return proposed, err
			}
			set := make(row)
			for _, column := range columns {
				set[column] = proposed[column]
			}
			return m.into(was, was.with(set), nil)
		}
	case n < 40:
		return fmt.Sprintf("DELETE FROM %s AS t WHERE id = $1 RETURNING to_jsonb(t)", table), []any{*id},
			func(m *model, was row) (row, error) { return was, nil }
	}
	var assignments []string
	for _, column := range slices.Sorted(maps.Keys(given)) {
		assignments = append(assignments, pg.Quote(column)+" = "+c.cast(p, column, given[column]))
	}
	return fmt.Sprintf("UPDATE %s AS t SET %s WHERE id = $%d RETURNING to_jsonb(t)", table, strings.Join(assignments, ", "), p.add(*id)), p.args, update
}

// give draws values for columns, if the writers may name them.
func (c *crowd) give(random *rand.Rand, given row, columns []string) {
	for _, column := range columns {
		for _, p := range c.model.changes {
			draw, known := p.values[column]
			if !known || !c.allowed[column] {
				continue
			}
			given[column] = draw(random)
			for !c.gaps && given[column] == nil && slices.Contains(p.newColumns(), column) {
				given[column] = draw(random)
			}
		}
	}
}

// decode reads a row as JSON, by the names that the model has for the columns.
func (c *crowd) decode(document []byte) (row, error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		return nil, err
	}
	is := make(row)
	for name, field := range fields {
		name = strings.TrimSuffix(name, "__quarantined")
		switch field := field.(type) {
		case nil:
			is[name] = nil
		case string:
			is[name] = &field
		case json.Number:
			is[name] = text(field.String())
		default:
			return nil, fmt.Errorf("column %s holds %v", name, field)
		}
	}
	delete(is, "id")
	return is, nil
}

// twinOf reads what the last writer of the row left; nil is no row. The caller holds the row.
func (c *crowd) twinOf(ctx context.Context, tx pgx.Tx, id int64) (was row, err error) {
	var document []byte
	err = tx.QueryRow(ctx, "SELECT content FROM "+twin+" WHERE id = $1", id).Scan(&document)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	case document == nil:
		return nil, nil
	}
	return was, json.Unmarshal(document, &was)
}

func (c *crowd) keep(ctx context.Context, tx pgx.Tx, id int64, is row) error {
	var content *string
	if is != nil {
		document, err := json.Marshal(is)
		if err != nil {
			return err
		}
		content = text(string(document))
	}
	_, err := tx.Exec(ctx, "INSERT INTO "+twin+" (id, content) VALUES ($1, $2::text::jsonb) ON CONFLICT (id) DO UPDATE SET content = excluded.content", id, content)
	return err
}
