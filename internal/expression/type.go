package expression

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// ResolveType returns the type that the server understands by a name such as varchar(20).
func ResolveType(ctx context.Context, tx pgx.Tx, name string) (pg.Type, error) {
	var t pg.Type
	unknown := func(err error) (pg.Type, error) {
		return t, finding.New(fmt.Sprintf("Type %q is unknown", name), finding.Paragraphs(unknownTypeAdvice(name), stateLine(err)))
	}
	var oid *uint32
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
		// The parser of type names takes nothing but a type name, unlike that of a cast.
		return savepoint.QueryRow(ctx, `SELECT to_regtype($1)::oid`, name).Scan(&oid)
	})
	if err != nil && pg.SQLState(err) == "" {
		return t, fmt.Errorf("resolve type %q: %w", name, err)
	}
	if err != nil || oid == nil {
		return unknown(err)
	}
	// to_regtype drops the type modifier; a described statement has it.
	description, err := describe(ctx, tx, "SELECT (NULL::"+name+")")
	if err != nil {
		if pg.SQLState(err) == "" {
			return t, fmt.Errorf("resolve type %q: %w", name, err)
		}
		return unknown(err)
	}
	t.OID, t.Typmod = description.Fields[0].DataTypeOID, description.Fields[0].TypeModifier
	if *oid != t.OID {
		// Results are described by the type under a domain, and nothing but a domain may differ.
		var domain bool
		if err := tx.QueryRow(ctx, `SELECT typtype = 'd' FROM pg_type WHERE oid = $1`, *oid).Scan(&domain); err != nil {
			return t, fmt.Errorf("resolve type %q: %w", name, err)
		}
		if !domain {
			return unknown(nil)
		}
		t.OID, t.Typmod = *oid, -1
	}
	if err := tx.QueryRow(ctx, `SELECT format_type($1::oid, $2::int)`, t.OID, t.Typmod).Scan(&t.SQL); err != nil {
		return t, fmt.Errorf("name type %q: %w", name, err)
	}
	return t, nil
}

// typeAddOns are what people write behind a type in CREATE TABLE, with the staged way to have it.
var typeAddOns = []struct {
	pattern *regexp.Regexp
	advice  string
}{
	{regexp.MustCompile(`(?i)\A\s*(small|big)?serial[248]?\b`), "serial adds a sequence default to every row, which rewrites the table under an ACCESS EXCLUSIVE lock. " +
		"Add an integer column and fill it with a backfill."},
	{regexp.MustCompile(`(?i)\bgenerated\b|\bidentity\b`), "An identity or generated column rewrites the table under an ACCESS EXCLUSIVE lock. Add a plain column and fill it with a backfill."},
	{regexp.MustCompile(`(?i)\bnot\s+null\b|\bnull\b`), "Set not_null in the column's block instead, which needs a constant default."},
	{regexp.MustCompile(`(?i)\bdefault\b`), "Set default in the column's block instead."},
	{regexp.MustCompile(`(?i)\bcheck\b|\bunique\b|\bprimary\s+key\b|\breferences\b|\bconstraint\b`), "An inline constraint is checked or built under an ACCESS EXCLUSIVE lock. Add the column alone first; " +
		"constraints come after the backfill."},
	{regexp.MustCompile(`(?i)\bcollate\b`), "A collation cannot be given with the type."},
}

func unknownTypeAdvice(name string) string {
	for _, a := range typeAddOns {
		if a.pattern.MatchString(name) {
			return a.advice
		}
	}
	return "The server does not know it. Give a type name as in CREATE TABLE, with its schema if it is not on the search path:\n\n" +
		finding.Indent(strings.Join([]string{`"text"`, `"numeric(12,2)"`, `"app.mood"`}, "\n"))
}

func stateLine(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return fmt.Sprintf("The server says: %s.\n\nSQLSTATE %s", e.Message, e.Code)
	}
	return ""
}
