package usage

import (
	"slices"
	"strings"
)

// shape is what the text of a statement shows by itself.
type shape struct {
	// sql is the query that the server can be asked about, or "". It stands for a COPY or is what another command runs.
	sql string
	// copiesIn means that sql reads what the statement writes.
	copiesIn bool
	// relevant is false for commands that no service runs again and again, such as ALTER TABLE.
	relevant bool
	// everything means that the statement seems to use all columns of a table: by a star, or for lack of a column list.
	everything bool
	tokens     []token
}

var queryWords = []string{"select", "with", "values", "table", "insert", "update", "delete", "merge"}

// readShape looks at a statement's text.
func readShape(sql string) shape {
	s := shape{tokens: tokens(sql)}
	for len(s.tokens) > 0 && s.tokens[len(s.tokens)-1].isSymbol(";") {
		s.tokens = s.tokens[:len(s.tokens)-1]
	}
	if len(s.tokens) == 0 {
		return s
	}
	sql = sql[:s.tokens[len(s.tokens)-1].end]
	first := s.tokens[0]
	for i := 0; first.isSymbol("(") && i < len(s.tokens); i++ {
		first = s.tokens[i]
	}
	s.relevant = true
	switch {
	case first.is(queryWords...):
		s.sql = sql
	case first.is("copy"):
		s.readCopy(sql)
	case first.is("prepare"):
		s.sql = s.behind(sql, "as")
	case first.is("declare"):
		s.sql = s.behind(sql, "for")
	case first.is("create") && slices.ContainsFunc(s.tokens, func(t token) bool { return t.is("as") }) && !s.has("function", "procedure", "rule", "view"):
		s.sql = s.behind(sql, "as")
	case first.is("do"):
		s.readBlock()
	case first.is("call"):
	default:
		s.relevant = false
	}
	s.everything = s.everything || s.hasStar() || s.insertsWithoutList()
	return s
}

// behind returns the query that follows the first such word.
func (s *shape) behind(sql, keyword string) string {
	for i, t := range s.tokens[:len(s.tokens)-1] {
		if next := s.tokens[i+1]; t.is(keyword) && (next.is(queryWords...) || next.isSymbol("(")) {
			return sql[next.start:]
		}
	}
	return ""
}

// readBlock takes the text of an anonymous block for that of the statement.
func (s *shape) readBlock() {
	for _, t := range s.tokens {
		if t.kind == literal {
			s.tokens = tokens(strings.Trim(t.text, "$"))
		}
	}
}

// readCopy turns COPY into a query of the same columns.
func (s *shape) readCopy(sql string) {
	if len(s.tokens) < 3 {
		return
	}
	if s.tokens[1].isSymbol("(") { // COPY (query) TO
		if end := s.closing(1); end > 0 {
			s.sql = sql[s.tokens[1].start:s.tokens[end].end]
		}
		return
	}
	end := 2
	for end+1 < len(s.tokens) && s.tokens[end].isSymbol(".") {
		end += 2
	}
	table, columns := sql[s.tokens[1].start:s.tokens[end-1].end], "*"
	if end < len(s.tokens) && s.tokens[end].isSymbol("(") {
		if closing := s.closing(end); closing > 0 {
			columns = sql[s.tokens[end].end:s.tokens[closing].start]
			end = closing + 1
		}
	}
	s.everything = columns == "*"
	s.copiesIn = end < len(s.tokens) && s.tokens[end].is("from")
	s.sql = "SELECT " + columns + " FROM " + table
}

// closing returns the index of the parenthesis that closes the one at open, or 0.
func (s *shape) closing(open int) int {
	depth := 0
	for i := open; i < len(s.tokens); i++ {
		switch {
		case s.tokens[i].isSymbol("("):
			depth++
		case s.tokens[i].isSymbol(")"):
			depth--
		}
		if depth == 0 {
			return i
		}
	}
	return 0
}

func (s *shape) has(words ...string) bool {
	return slices.ContainsFunc(s.tokens, func(t token) bool { return t.is(words...) })
}

// mentions reports whether one of the identifiers is in the text.
func (s *shape) mentions(identifiers []string) bool {
	return slices.ContainsFunc(s.tokens, func(t token) bool { return slices.ContainsFunc(identifiers, t.names) })
}

// hasStar reports whether a star stands for columns, and neither for a product nor in count(*).
func (s *shape) hasStar() bool {
	for i, t := range s.tokens {
		if !t.isSymbol("*") || i == 0 {
			continue
		}
		if before := s.tokens[i-1]; before.isSymbol(".") || before.isSymbol(",") || before.is("select", "all", "distinct", "returning") {
			return true
		}
	}
	return s.has("natural") || s.tokens[0].is("table")
}

func (s *shape) insertsWithoutList() bool {
	for i, t := range s.tokens {
		if !t.is("into") || i == 0 || !s.tokens[i-1].is("insert") {
			continue
		}
		end := i + 2
		for end+1 < len(s.tokens) && s.tokens[end].isSymbol(".") {
			end += 2
		}
		if end < len(s.tokens) && s.tokens[end].is("as") {
			end += 2
		}
		return end >= len(s.tokens) || !s.tokens[end].isSymbol("(")
	}
	return false
}

// Types that a constant may be given by a word in front of it, which pg_stat_statements leaves there when it replaces the
// constant: interval $1.
var constantTypes = []string{"interval", "date", "time", "timestamp", "timestamptz", "timetz", "uuid", "json", "jsonb", "numeric", "text", "inet"}

// typedConstants rewrites interval $1 as ($1::interval), or returns "" when there is nothing of the kind.
func typedConstants(sql string) string {
	var b strings.Builder
	done := 0
	list := tokens(sql)
	for i := 1; i < len(list); i++ {
		if list[i].kind == parameter && list[i-1].is(constantTypes...) {
			b.WriteString(sql[done:list[i-1].start] + "(" + list[i].text + "::" + list[i-1].text + ")")
			done = list[i].end
		}
	}
	if done == 0 {
		return ""
	}
	return b.String() + sql[done:]
}

// withoutParameters replaces the parameters by NULL, of the types that are known: the server takes no more than 100 of them
// for a function.
func withoutParameters(sql string, types []string) string {
	return replace(sql, func(t token, _ bool) string {
		if t.kind != parameter {
			return ""
		}
		if n := parameterNumber(t.text); n > 0 && n <= len(types) {
			return "(NULL::" + types[n-1] + ")"
		}
		return "NULL"
	})
}

// withoutConstants replaces parameters and constants by NULL. What was date_trunc('day', at) in both places may have become
// SELECT date_trunc($1, at) ... GROUP BY date_trunc('day', at), which the server refuses.
func withoutConstants(sql string) string {
	return replace(sql, func(t token, position bool) string {
		if t.kind == parameter || t.kind == literal && !position {
			return "NULL"
		}
		return ""
	})
}

// replace rewrites the tokens for which fn returns something. It tells fn which of them may be a position in ORDER BY or
// GROUP BY.
func replace(sql string, fn func(t token, position bool) string) string {
	var b strings.Builder
	done, depth, listAt := 0, 0, -1
	for _, t := range tokens(sql) {
		switch {
		case t.is("by"):
			listAt = depth
		case t.isSymbol("("):
			depth++
		case t.isSymbol(")"):
			depth--
		}
		if text := fn(t, depth == listAt && isDigit(t.text[0])); text != "" {
			b.WriteString(sql[done:t.start] + text)
			done = t.end
		}
	}
	return b.String() + sql[done:]
}

func parameterNumber(text string) (n int) {
	for _, digit := range strings.TrimPrefix(text, "$") {
		n = n*10 + int(digit-'0')
	}
	return n
}
