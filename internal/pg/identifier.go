package pg

import (
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// MaxIdentifierBytes is the longest name the server keeps; it cuts the rest off silently (NAMEDATALEN - 1).
const MaxIdentifierBytes = 63

// Quote returns name as a quoted SQL identifier.
func Quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// QuoteAll returns the names as quoted SQL identifiers, separated by commas.
func QuoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = Quote(n)
	}
	return strings.Join(quoted, ", ")
}

// Literal returns text as an SQL constant, for statements that take no parameters. The E form of one with a backslash means the same
// whatever standard_conforming_strings is in the session that runs it.
func Literal(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		quoted = "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// TextArray returns the text form of an array of type text[].
func TextArray(elements []string) string {
	quoted := make([]string, len(elements))
	for i, e := range elements {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(e) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}

// FitName appends to a name and keeps the server's limit: of a long name the end gives way to a hash of the whole.
func FitName(name, suffix string) string {
	if len(name)+len(suffix) <= MaxIdentifierBytes {
		return name + suffix
	}
	tail := fmt.Sprintf("_%08x%s", Hash(name), suffix)
	cut := MaxIdentifierBytes - len(tail)
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + tail
}

// Hash returns a number that stands for the text in names that would be too long otherwise.
func Hash(text string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(text))
	return h.Sum32()
}

// TableName is the name of a relation in its schema.
type TableName struct {
	Schema string
	Name   string
}

// SQL returns the name as SQL, always quoted and qualified.
func (t TableName) SQL() string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

// String returns the name for people, quoted only where SQL would need it.
func (t TableName) String() string { return quoteIfNeeded(t.Schema) + "." + quoteIfNeeded(t.Name) }

// Column returns the name of one of the table's columns for people.
func (t TableName) Column(name string) string { return t.String() + "." + quoteIfNeeded(name) }

var plainName = regexp.MustCompile(`\A[a-z_][a-z0-9_$]*\z`)

func quoteIfNeeded(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return Quote(name)
}

// FormatID returns the identifier of a stage: schema.table/column,column, with quotes where SQL would need them.
func FormatID(table TableName, columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = quoteIfNeeded(c)
	}
	return table.String() + "/" + strings.Join(quoted, ",")
}

// ParseID reads an identifier as FormatID writes it.
func ParseID(id string) (TableName, []string, error) {
	rest := id
	next := func() (name string, separator byte, err error) {
		name, rest, err = cutName(rest)
		if err != nil || rest == "" {
			return name, 0, err
		}
		separator, rest = rest[0], rest[1:]
		return name, separator, nil
	}
	malformed := func(err error) (TableName, []string, error) {
		return TableName{}, nil, fmt.Errorf("%q is not of the form schema.table/column,column: %w", id, err)
	}

	var table TableName
	for i, part := range []struct {
		into *string
		want byte
	}{{&table.Schema, '.'}, {&table.Name, '/'}} {
		name, separator, err := next()
		if err != nil {
			return malformed(err)
		}
		if separator != part.want {
			return malformed(fmt.Errorf("part %d must be followed by %q", i+1, part.want))
		}
		*part.into = name
	}
	var columns []string
	for {
		name, separator, err := next()
		if err != nil {
			return malformed(err)
		}
		columns = append(columns, name)
		switch separator {
		case 0:
			return table, columns, nil
		case ',':
		default:
			return malformed(fmt.Errorf("columns must be separated by %q", ','))
		}
	}
}

// cutName takes one plain or quoted name from the front of s.
func cutName(s string) (name, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, `./,"`)
		if end < 0 {
			end = len(s)
		}
		if end == 0 {
			return "", "", errors.New("a name is missing")
		}
		return s[:end], s[end:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		if b.Len() == 0 {
			return "", "", errors.New("a name is empty")
		}
		return b.String(), s[i+1:], nil
	}
	return "", "", errors.New("a quote is not closed")
}
