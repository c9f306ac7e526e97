package usage

import (
	"strings"
	"unicode/utf8"
)

// token is a lexical element of a statement. What a statement means is for the server to say; this is only for statements
// that it cannot be asked about, and to put them into a form in which it can.
type token struct {
	kind tokenKind
	// text is a word in lower case, or a quoted identifier without its quotes. Otherwise it is as it stands.
	text       string
	start, end int
}

type tokenKind int

const (
	word tokenKind = iota
	quoted
	parameter // $1
	literal
	symbol // one character
)

// is reports whether the token is one of the words, which are given in lower case.
func (t token) is(words ...string) bool {
	for _, w := range words {
		if t.kind == word && t.text == w {
			return true
		}
	}
	return false
}

// names reports whether the token is the identifier.
func (t token) names(identifier string) bool {
	return (t.kind == word || t.kind == quoted) && t.text == identifier
}

func (t token) isSymbol(character string) bool { return t.kind == symbol && t.text == character }

// tokens splits a statement, without comments (https://www.postgresql.org/docs/current/sql-syntax-lexical.html). What is
// not closed ends with the text.
func tokens(sql string) (list []token) {
	for at := 0; at < len(sql); {
		start := at
		kind := symbol
		switch c := sql[at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			at++
			continue
		case strings.HasPrefix(sql[at:], "--"):
			at = after(sql, at, "\n")
			continue
		case strings.HasPrefix(sql[at:], "/*"):
			at = skipComment(sql, at)
			continue
		case c == '"':
			at = skipQuoted(sql, at, false)
			text := strings.TrimSuffix(sql[start+1:at], `"`)
			list = append(list, token{quoted, strings.ReplaceAll(text, `""`, `"`), start, at})
			continue
		case c == '\'':
			at, kind = skipQuoted(sql, at, false), literal
		case (c == 'e' || c == 'E') && strings.HasPrefix(sql[at+1:], "'"):
			at, kind = skipQuoted(sql, at+1, true), literal
		case c == '$' && dollarTag(sql[at:]) != "":
			tag := dollarTag(sql[at:])
			at, kind = after(sql, at+len(tag), tag), literal
		case c == '$':
			for at++; at < len(sql) && isDigit(sql[at]); at++ {
			}
			kind = parameter
		case isDigit(c):
			for at++; at < len(sql) && (isDigit(sql[at]) || sql[at] == '.' || sql[at] == 'e'); at++ {
			}
			kind = literal
		case startsWord(c):
			for at++; at < len(sql) && (startsWord(sql[at]) || isDigit(sql[at]) || sql[at] == '$'); at++ {
			}
			list = append(list, token{word, strings.ToLower(sql[start:at]), start, at})
			continue
		default:
			at++
		}
		list = append(list, token{kind, sql[start:at], start, at})
	}
	return list
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func startsWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

// after returns the position behind the next occurrence of the end mark.
func after(sql string, from int, mark string) int {
	if i := strings.Index(sql[from:], mark); i >= 0 {
		return from + i + len(mark)
	}
	return len(sql)
}

// skipComment returns the position behind a block comment; they nest.
func skipComment(sql string, at int) int {
	depth := 0
	for at < len(sql) {
		switch {
		case strings.HasPrefix(sql[at:], "/*"):
			depth++
			at += 2
		case strings.HasPrefix(sql[at:], "*/"):
			depth--
			at += 2
			if depth == 0 {
				return at
			}
		default:
			at++
		}
	}
	return at
}

// skipQuoted returns the position behind a literal or identifier that begins with its quote, which stands for itself when it
// is doubled.
func skipQuoted(sql string, at int, backslashes bool) int {
	quote := sql[at]
	for at++; at < len(sql); at++ {
		switch {
		case backslashes && sql[at] == '\\':
			at++
		case sql[at] != quote:
		case at+1 < len(sql) && sql[at+1] == quote:
			at++
		default:
			return at + 1
		}
	}
	return len(sql)
}

// dollarTag returns the mark with which a dollar-quoted literal begins, or nothing.
func dollarTag(sql string) string {
	for i := 1; i < len(sql); i++ {
		switch c := sql[i]; {
		case c == '$':
			return sql[:i+1]
		case !startsWord(c) && (i == 1 || !isDigit(c)):
			return ""
		}
	}
	return ""
}
