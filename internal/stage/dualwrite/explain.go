package dualwrite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Explained returns the condition under which a row has on its new side all that its old side says, although some of the
// targets are NULL: a service wrote it so, and a backfill has nothing to add. It is "" when no sync with a reverse
// fills all the targets.
func Explained(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, targets []string) (string, error) {
	records, err := env.RecordsOf(ctx, tx, table)
	if err != nil {
		return "", err
	}
	for _, record := range records {
		if record.Kind != ledger.ColumnSync || record.Status == ledger.Forgotten || record.Retired() {
			continue
		}
		s, err := stage.Decode[Spec](record.Spec)
		if err != nil {
			return "", err
		}
		foreign := func(target string) bool { _, own := s.Forward[target]; return !own }
		if len(s.Reverse) > 0 && !slices.ContainsFunc(targets, foreign) {
			return s.explained(table, targets), nil
		}
	}
	return "", nil
}

// explained compares bytes of text, which all types have.
func (s *Spec) explained(table *pg.Table, targets []string) string {
	conditions := []string{fmt.Sprintf("num_nonnulls(%s) > 0", pg.QuoteAll(targets))}
	for _, column := range s.Old() {
		c, exists := table.Column(column)
		if !exists {
			return ""
		}
		conditions = append(conditions, fmt.Sprintf(`%s::text COLLATE "C" IS NOT DISTINCT FROM (%s::%s)::text COLLATE "C"`, pg.Quote(column),
			expression.Parenthesize(s.Reverse[column]), c.Type.SQL))
	}
	return strings.Join(conditions, " AND ")
}
