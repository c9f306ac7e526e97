package expression

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Assignable reports whether the server casts the column to the type by itself when a value is assigned, as ALTER COLUMN TYPE
// without USING does; if not, it returns what the server says. The default of an XMLTABLE column is the one place in a query
// that is coerced in the same way (coerce_to_specific_type_typmod in src/backend/parser/parse_coerce.c), so that no statement
// that locks or changes the table is needed to find out.
func Assignable(ctx context.Context, tx pgx.Tx, table *pg.Table, column, typeName string) (refused *pgconn.PgError, err error) {
	_, err = describe(ctx, tx, fmt.Sprintf("SELECT FROM (SELECT %s AS value FROM %s) AS t, XMLTABLE('/' PASSING (NULL::xml) COLUMNS c %s PATH '.' DEFAULT t.value)",
		pg.Quote(column), table.Name.SQL(), typeName))
	return refusal(err)
}

// Castable reports whether there is any cast, also one that has to be written.
func Castable(ctx context.Context, tx pgx.Tx, table *pg.Table, column, typeName string) (bool, error) {
	_, err := describe(ctx, tx, fmt.Sprintf("SELECT %s::%s FROM %s", pg.Quote(column), typeName, table.Name.SQL()))
	refused, err := refusal(err)
	return refused == nil, err
}

// CompilesWithType reports whether the expression over the table still compiles when the column is of another type, and if not,
// what the server says.
func CompilesWithType(ctx context.Context, tx pgx.Tx, table *pg.Table, column, typeName, sql string) (refused *pgconn.PgError, err error) {
	columns := make([]string, 0, len(table.Columns))
	for _, c := range table.Columns {
		value := pg.Quote(c.Name)
		if c.Name == column {
			value = fmt.Sprintf("NULL::%s AS %s", typeName, value)
		}
		columns = append(columns, value)
	}
	_, err = describe(ctx, tx, fmt.Sprintf("SELECT %s FROM (SELECT %s FROM %s) AS %s", Parenthesize(sql), strings.Join(columns, ", "),
		table.Name.SQL(), pg.Quote(table.Name.Name)))
	return refusal(err)
}

// refusal separates what the server says about the statement from failures to ask it.
func refusal(err error) (*pgconn.PgError, error) {
	var e *pgconn.PgError
	if errors.As(err, &e) && slices.Contains([]string{"42", "0A", "22"}, e.Code[:2]) && !pg.IsInsufficientPrivilege(err) {
		return e, nil
	}
	return nil, err
}
