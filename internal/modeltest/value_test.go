package modeltest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// value is what a column holds, as the server prints it. Nil is NULL. Two values of one type are the same bytes exactly
// when they print the same, also where the type calls different ones equal, as numeric does 1.0 and 1.00.
type value = *string

func text(s string) value { return &s }

func same(a, b value) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

func show(v value) string {
	if v == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *v)
}

// row is a row by column. A column that is not there reads as NULL.
type row map[string]value

// with returns the row with some columns replaced.
func (r row) with(set row) row {
	changed := maps.Clone(r)
	maps.Copy(changed, set)
	return changed
}

func (r row) String() string {
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(r)) {
		fields = append(fields, name+"="+show(r[name]))
	}
	return strings.Join(fields, " ")
}

// sameIn reports whether two rows are the same in these columns.
func sameIn(columns []string, a, b row) bool {
	return !slices.ContainsFunc(columns, func(c string) bool { return !same(a[c], b[c]) })
}

// absent reports whether all of these columns are NULL.
func (r row) absent(columns []string) bool {
	return !slices.ContainsFunc(columns, func(c string) bool { return r[c] != nil })
}

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

// chance is true so many times in a hundred.
func chance(random *rand.Rand, percent int) bool { return random.IntN(100) < percent }

// some returns some of the items, at least one, in their order.
func some[T any](random *rand.Rand, from []T) []T {
	for {
		var chosen []T
		for _, item := range from {
			if chance(random, 60) {
				chosen = append(chosen, item)
			}
		}
		if len(chosen) > 0 || len(from) == 0 {
			return chosen
		}
	}
}

// The functions of the server that the expressions use, on characters as there.

func splitPart(s, separator string, n int) string {
	if parts := strings.Split(s, separator); n <= len(parts) {
		return parts[n-1]
	}
	return ""
}

func strpos(s, part string) int {
	i := strings.Index(s, part)
	if i < 0 {
		return 0
	}
	return len([]rune(s[:i])) + 1
}

func substr(s string, from int) string {
	characters := []rune(s)
	return string(characters[min(max(from, 1), len(characters)+1)-1:])
}

func concatWS(separator string, values ...value) string {
	var parts []string
	for _, v := range values {
		if v != nil {
			parts = append(parts, *v)
		}
	}
	return strings.Join(parts, separator)
}

// printArray is array_out for text[] of one dimension.
func printArray(elements []value) string {
	var parts []string
	for _, e := range elements {
		switch {
		case e == nil:
			parts = append(parts, "NULL")
		case *e == "" || strings.EqualFold(*e, "null") || strings.ContainsAny(*e, "{},\"\\ \t\n"):
			parts = append(parts, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(*e)+`"`)
		default:
			parts = append(parts, *e)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// printRecord is record_out.
func printRecord(fields []value) string {
	var parts []string
	for _, f := range fields {
		switch {
		case f == nil:
			parts = append(parts, "")
		case *f == "" || strings.ContainsAny(*f, "(),\"\\ \t\n"):
			parts = append(parts, `"`+strings.NewReplacer(`\`, `\\`, `"`, `""`).Replace(*f)+`"`)
		default:
			parts = append(parts, *f)
		}
	}
	return "(" + strings.Join(parts, ",") + ")"
}

// parse reads what printArray and printRecord print.
func parse(printed string) (fields []value) {
	inner := printed[1 : len(printed)-1]
	if inner == "" && printed[0] == '{' {
		return nil
	}
	var b strings.Builder
	quoted, wasQuoted := false, false
	end := func() {
		switch {
		case wasQuoted, b.Len() > 0 && (printed[0] == '(' || b.String() != "NULL"):
			fields = append(fields, text(b.String()))
		default:
			fields = append(fields, nil)
		}
		b.Reset()
		wasQuoted = false
	}
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c == '\\':
			i++
			b.WriteByte(inner[i])
		case c == '"' && quoted && i+1 < len(inner) && inner[i+1] == '"':
			i++
			b.WriteByte('"')
		case c == '"':
			quoted, wasQuoted = !quoted, true
		case c == ',' && !quoted:
			end()
		default:
			b.WriteByte(c)
		}
	}
	end()
	return fields
}
