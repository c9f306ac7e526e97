package pgtest

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// reportedMismatches bounds what CheckUsers returns: enough to see the pattern.
const reportedMismatches = 20

// CheckUsers compares users with its oracle, both ways, and returns the first 20 rows that differ, one sentence each.
// It looks at the columns that users has at the time: before expand full_name alone, after contract first_name and
// last_name. Names written old style must have been split by FirstName and LastName, so with first_name present every
// row must have been backfilled; names written new style must have been put together by FullName. One statement does
// it all, and writers change both tables in one transaction, so they may go on.
func CheckUsers(ctx context.Context, conn Querier) (mismatches []string, err error) {
	rows, err := conn.Query(ctx, `
SELECT attname::text
FROM pg_attribute
WHERE attrelid = 'users'::regclass
  AND attnum > 0
  AND NOT attisdropped
  AND attname IN ('full_name', 'first_name', 'last_name')
ORDER BY attname`)
	if err != nil {
		return nil, err
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}

	expressions := map[string]string{
		"full_name":  "full_name",
		"first_name": "CASE WHEN first_name IS NULL THEN " + FirstName + " ELSE first_name END",
		"last_name":  "CASE WHEN first_name IS NULL THEN " + LastName + " ELSE last_name END",
	}
	actual, expected := []string{"id", "visits"}, []string{"id", "visits"}
	for _, column := range columns {
		actual = append(actual, column+"::text AS "+column)
		expected = append(expected, expressions[column]+" AS "+column)
	}
	rows, err = conn.Query(ctx, fmt.Sprintf(`
WITH actual AS (
  SELECT %s FROM users
), expected AS (
  SELECT %s FROM users_oracle
)
SELECT format(
  'id %%s: users has %%s, the oracle expects %%s',
  coalesce(actual.id, expected.id),
  coalesce(to_jsonb(actual)::text, 'no such row'),
  coalesce(to_jsonb(expected)::text, 'no such row'))
FROM actual
FULL JOIN expected ON expected.id = actual.id
WHERE actual IS DISTINCT FROM expected
ORDER BY coalesce(actual.id, expected.id)
LIMIT %d`, strings.Join(actual, ", "), strings.Join(expected, ", "), reportedMismatches))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
