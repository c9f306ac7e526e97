package expression

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// ResolveType returns the type that the server understands by a name such as varchar(20).
func ResolveType(ctx context.Context, tx pgx.Tx, name string) (pg.Type, error) {
	var t pg.Type
	unknown := func(err error) (pg.Type, error) {
		return t, finding.New(fmt.Sprintf("Type %q is unknown", name), finding.Paragraphs(unknownTypeAdvice, stateLine(err)))
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

const unknownTypeAdvice = "The server does not know it. Give a type name as in CREATE TABLE, with its schema if it is not on the search path:\n\n" +
	"  \"text\"\n  \"numeric(12,2)\"\n  \"app.mood\""

func stateLine(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return fmt.Sprintf("The server says: %s.\n\nSQLSTATE %s", e.Message, e.Code)
	}
	return ""
}
