package modeltest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// reachable reports whether writers can name the column at present.
func (w *table) reachable(column string) bool {
	for _, p := range w.model.changes {
		if slices.Contains(p.oldColumns(), column) {
			return !p.away
		}
		if slices.Contains(p.newColumns(), column) {
			return p.expanded
		}
	}
	return true
}

// style draws the columns that a write of the session gives: of the old side, of the new one, of both, or of neither. It may
// name columns that are not there, but rarely.
func (w *table) style(s *session) (columns []string) {
	for i, p := range w.model.changes {
		if i > 0 && chance(w.random, 60) {
			continue
		}
		olds, news := chance(w.random, 50), chance(w.random, 50)
		if s.oldOnly {
			news = false
		}
		if s.newOnly {
			olds = false
		}
		wrongly := chance(w.random, 2)
		if olds && (!p.away || wrongly) {
			columns = append(columns, some(w.random, p.oldColumns())...)
		}
		if news && (p.expanded || wrongly) {
			if chance(w.random, 60) {
				columns = append(columns, p.newColumns()...)
			} else {
				columns = append(columns, some(w.random, p.newColumns())...)
			}
		}
	}
	w.random.Shuffle(len(columns), func(i, j int) { columns[i], columns[j] = columns[j], columns[i] })
	return columns
}

func (w *table) typeOf(column string) string {
	for _, p := range w.model.changes {
		if typ := p.typeOf(column); typ != "" {
			return strings.TrimSuffix(typ, " COLLATE public.ignore_case")
		}
	}
	return map[string]string{"id": "bigint", "part": "integer"}[column]
}

// drawValue draws a value for a column. It is now and then the one that the row has.
func (w *table) drawValue(column string, now row) value {
	if now != nil && chance(w.random, 10) {
		return now[column]
	}
	switch column {
	case "note":
		return pick(w.random, nil, text("rename"), text(fmt.Sprint("note ", w.random.IntN(100))), text(""))
	case "part":
		return text(fmt.Sprint(w.random.IntN(3)))
	}
	for _, p := range w.model.changes {
		if draw, known := p.values[column]; known {
			return draw(w.random)
		}
	}
	panic("no such column: " + column)
}

func (w *table) ids() []int64 { return slices.Sorted(maps.Keys(w.model.rows)) }

// maxRows keeps the table small, so that rows are written again and again.
const maxRows = 24

// newID draws an id that no row has.
func (w *table) newID() int64 {
	for {
		if id := 1 + w.random.Int64N(4*maxRows); w.model.rows[id] == nil {
			return id
		}
	}
}

func (w *table) draw(s *session) write {
	ids := w.ids()
	if len(ids) == 0 || (len(ids) < maxRows && chance(w.random, 30)) {
		return w.drawInsert(s)
	}
	switch n := w.random.IntN(100); {
	case n < 50:
		return w.drawUpdate(s, ids)
	case n < 65:
		return w.drawUpsert(s, ids)
	case n < 75 && w.merges:
		return w.drawMerge(s, ids)
	case n < 88:
		return w.drawUpdate(s, ids)
	default:
		return w.drawDelete(ids)
	}
}

// parameters renders a place for each value.
type parameters struct{ args []any }

func (p *parameters) add(v any) int {
	p.args = append(p.args, v)
	return len(p.args)
}

// cast renders a place for a value of a column, which is sent as text.
func (w *table) cast(p *parameters, column string, v value) string {
	typ := w.typeOf(column)
	if typ == "" || typ == "text" {
		return fmt.Sprintf("$%d::text", p.add(v))
	}
	return fmt.Sprintf("CAST($%d::text AS %s)", p.add(v), typ)
}

// proposed draws a row to insert.
func (w *table) proposed(columns []string, id int64) row {
	r := row{"part": w.drawValue("part", nil)}
	if was := w.model.rows[id]; was != nil {
		r["part"] = was["part"] // The part is of the key.
	}
	for _, c := range columns {
		r[c] = w.drawValue(c, w.model.rows[id])
	}
	return r
}

// values renders rows for VALUES.
func (w *table) values(p *parameters, columns []string, rows map[int64]row) string {
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		idText := fmt.Sprint(id)
		fields := []string{w.cast(p, "id", &idText)}
		for _, c := range append([]string{"part"}, columns...) {
			fields = append(fields, w.cast(p, c, rows[id][c]))
		}
		lines = append(lines, "("+strings.Join(fields, ", ")+")")
	}
	return strings.Join(lines, ", ")
}

func (w *table) withNote(columns []string) []string {
	if chance(w.random, 30) {
		return append(columns, "note")
	}
	return columns
}

func (w *table) drawInsert(s *session) write {
	columns := w.style(s)
	named := columns
	columns = w.withNote(columns)
	rows := make(map[int64]row)
	for range pick(w.random, 1, 1, 1, 2, 5) {
		id := w.newID()
		rows[id] = w.proposed(columns, id)
	}
	apply := func(m *model) (map[int64]row, error) {
		changed := make(map[int64]row)
		for id, r := range rows {
			now, err := m.into(nil, r, nil)
			if err != nil {
				return nil, err
			}
			changed[id] = now
		}
		return changed, nil
	}
	list := pg.QuoteAll(append([]string{"id", "part"}, columns...))
	if chance(w.random, 25) {
		return write{sql: fmt.Sprintf("COPY %s (%s) FROM STDIN", w.name.SQL(), list), copied: copyLines(columns, rows), columns: named, apply: apply}
	}
	p := &parameters{}
	sql := fmt.Sprintf("INSERT INTO %s (%s) VALUES %s", w.name.SQL(), list, w.values(p, columns, rows))
	return write{sql: sql, args: p.args, columns: named, apply: apply}
}

// copyLines renders rows in the text format of COPY.
func copyLines(columns []string, rows map[int64]row) string {
	escape := strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprint(&b, id)
		for _, c := range append([]string{"part"}, columns...) {
			b.WriteByte('\t')
			if v := rows[id][c]; v == nil {
				b.WriteString(`\N`)
			} else {
				b.WriteString(escape.Replace(*v))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// updated is what an update makes of rows.
func updated(m *model, ids []int64, set row) (map[int64]row, error) {
	changed := make(map[int64]row)
	for _, id := range ids {
		now, err := m.into(m.rows[id], m.rows[id].with(set), nil)
		if err != nil {
			return nil, err
		}
		changed[id] = now
	}
	return changed, nil
}

func (w *table) drawUpdate(s *session, ids []int64) write {
	named := w.style(s)
	columns := w.withNote(slices.Clone(named))
	if chance(w.random, 15) || len(columns) == 0 {
		columns = append(columns, pick(w.random, "part", "part", "note"))
	}
	columns = slices.Compact(columns)
	chosen := []int64{pick(w.random, ids...)}
	if chance(w.random, 20) {
		chosen = some(w.random, ids)
	}
	set := make(row)
	p := &parameters{}
	var assignments []string
	for _, c := range columns {
		if _, twice := set[c]; twice {
			continue
		}
		set[c] = w.drawValue(c, w.model.rows[chosen[0]])
		assignments = append(assignments, fmt.Sprintf("%s = %s", pg.Quote(c), w.cast(p, c, set[c])))
	}
	sql := fmt.Sprintf("UPDATE %s SET %s WHERE id = ANY($%d::bigint[])", w.name.SQL(), strings.Join(assignments, ", "), p.add(chosen))
	return write{sql: sql, args: p.args, columns: named, apply: func(m *model) (map[int64]row, error) { return updated(m, chosen, set) }}
}

// idOf draws a row that exists, or one that does not.
func (w *table) idOf(ids []int64) int64 {
	if chance(w.random, 40) && len(ids) < maxRows {
		return w.newID()
	}
	return pick(w.random, ids...)
}

func (w *table) drawUpsert(s *session, ids []int64) write {
	columns := w.style(s)
	id := w.idOf(ids)
	r := w.proposed(columns, id)
	p := &parameters{}
	action := "NOTHING"
	if len(columns) > 0 && chance(w.random, 80) {
		action = "UPDATE SET "
		for i, c := range columns {
			if i > 0 {
				action += ", "
			}
			action += fmt.Sprintf("%s = excluded.%[1]s", pg.Quote(c))
		}
	}
	list := pg.QuoteAll(append([]string{"id", "part"}, columns...))
	sql := fmt.Sprintf("INSERT INTO %s AS t (%s) VALUES %s ON CONFLICT (id, part) DO %s", w.name.SQL(), list,
		w.values(p, columns, map[int64]row{id: r}), action)
	return write{sql: sql, args: p.args, columns: columns, apply: func(m *model) (map[int64]row, error) {
		// The triggers see the row that is proposed, whatever becomes of it.
		proposed, err := m.into(nil, r, nil)
		was, exists := m.rows[id]
		switch {
		case err != nil || !exists:
			return map[int64]row{id: proposed}, err
		case action == "NOTHING":
			return nil, nil
		}
		set := make(row)
		for _, c := range columns {
			set[c] = proposed[c]
		}
		now, err := m.into(was, was.with(set), nil)
		return map[int64]row{id: now}, err
	}}
}

func (w *table) drawMerge(s *session, ids []int64) write {
	columns := w.style(s)
	id := w.idOf(ids)
	r := w.proposed(columns, id)
	p := &parameters{}
	matched := "DO NOTHING"
	if len(columns) > 0 {
		matched = "UPDATE SET "
		for i, c := range columns {
			if i > 0 {
				matched += ", "
			}
			matched += fmt.Sprintf("%s = s.%[1]s", pg.Quote(c))
		}
	}
	all := append([]string{"id", "part"}, columns...)
	sources := make([]string, len(all))
	for i, c := range all {
		sources[i] = "s." + pg.Quote(c)
	}
	sql := fmt.Sprintf("MERGE INTO %s AS t USING (VALUES %s) AS s (%s) ON t.id = s.id WHEN MATCHED THEN %s WHEN NOT MATCHED THEN INSERT (%s) VALUES (%s)",
		w.name.SQL(), w.values(p, columns, map[int64]row{id: r}), pg.QuoteAll(all), matched, pg.QuoteAll(all), strings.Join(sources, ", "))
	return write{sql: sql, args: p.args, columns: columns, apply: func(m *model) (map[int64]row, error) {
		was, exists := m.rows[id]
		if !exists {
			now, err := m.into(nil, r, nil)
			return map[int64]row{id: now}, err
		}
		if len(columns) == 0 {
			return nil, nil
		}
		set := make(row)
		for _, c := range columns {
			set[c] = r[c]
		}
		now, err := m.into(was, was.with(set), nil)
		return map[int64]row{id: now}, err
	}}
}

func (w *table) drawDelete(ids []int64) write {
	chosen := []int64{pick(w.random, ids...)}
	return write{
		sql: fmt.Sprintf("DELETE FROM %s WHERE id = ANY($1::bigint[])", w.name.SQL()), args: []any{chosen},
		apply: func(m *model) (map[int64]row, error) { return map[int64]row{chosen[0]: nil}, nil },
	}
}
