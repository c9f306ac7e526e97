package expand

import (
	"regexp"
	"strings"
)

// What follows from the text alone. A plan shows it, and must not depend on what the server says.

// isPlain reports whether adding the column changes metadata only, whatever is in the database: its type is built in, and its
// default, if there is one, is a constant.
func (c Column) isPlain() bool {
	return builtIn[typeName(c.Type)] && (c.Default == "" || constant.MatchString(strings.TrimSpace(c.Default)))
}

// constant matches a number, a string without a backslash or a keyword, with a cast to a built-in type or without.
var constant = regexp.MustCompile(`(?i)\A(?:[-+]?[0-9]+(?:\.[0-9]+)?|'(?:[^'\\]|'')*'|true|false|null)\z`)

// aliases are the other names of built-in types (documentation, 8, table 8.1).
var aliases = map[string]string{
	"int": "integer", "int4": "integer", "int8": "bigint", "int2": "smallint", "bool": "boolean", "float8": "double precision", "float": "double precision",
	"float4": "real", "varchar": "character varying", "char": "character", "varbit": "bit varying", "decimal": "numeric",
	"timestamptz": "timestamp with time zone", "timestamp without time zone": "timestamp", "timetz": "time with time zone",
	"time without time zone": "time",
}

// builtIn are the types that are found before all others, so that the name can stand for no domain (pg_catalog is searched
// first).
var builtIn = map[string]bool{
	"integer": true, "bigint": true, "smallint": true, "boolean": true, "double precision": true, "real": true, "numeric": true,
	"character varying": true, "character": true, "text": true, "bytea": true, "bit": true, "bit varying": true, "uuid": true, "json": true, "jsonb": true,
	"date": true, "time": true, "time with time zone": true, "timestamp": true, "timestamp with time zone": true, "interval": true,
	"inet": true, "cidr": true, "macaddr": true, "xml": true, "tsvector": true, "tsquery": true, "point": true, "money": true,
}

var (
	typeModifier = regexp.MustCompile(`\([0-9, ]*\)`)
	arrayBounds  = regexp.MustCompile(`(?:\[[0-9]*\])+\z`)
)

// typeName is the name of a type without its modifier and array bounds, as in aliases and builtIn.
func typeName(text string) string {
	if strings.Contains(text, `"`) {
		return text
	}
	name := arrayBounds.ReplaceAllString(strings.TrimSpace(strings.ToLower(text)), "")
	name = strings.Join(strings.Fields(typeModifier.ReplaceAllString(name, " ")), " ")
	name = strings.TrimPrefix(name, "pg_catalog.")
	if full, is := aliases[name]; is {
		return full
	}
	return name
}

// sameTypeName reports whether two texts are certain to name the same type.
func sameTypeName(a, b string) bool {
	rest := func(text string) string {
		return strings.Join(append(typeModifier.FindAllString(text, -1), arrayBounds.FindString(text)), "")
	}
	compact := func(text string) string { return strings.ReplaceAll(rest(strings.TrimSpace(text)), " ", "") }
	return a == b || (typeName(a) == typeName(b) && compact(a) == compact(b))
}
