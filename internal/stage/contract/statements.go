package contract

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

// shownStatements bounds a list for people.
const shownStatements = 10

// checkStatements looks whether statements that name the columns have run within QuietFor, as far as the server counts them.
// They stop the contract, unless the user has said that nobody uses the columns: then they are a warning, because the
// count may be older than that.
func (s *Spec) checkStatements(ctx context.Context, env *stage.Env, look lookFunc) (*finding.Finding, error) {
	if s.QuietFor == 0 {
		return nil, nil
	}
	report, err := look(ctx, env, s.Table, s.Columns)
	if err != nil {
		return nil, err
	}
	busy := slices.DeleteFunc(report.Quiet(s.QuietFor).Busy, func(statement usage.Statement) bool {
		return slices.Contains(s.Ignore, statement.Role)
	})
	if len(busy) == 0 {
		return nil, nil
	}
	f := s.stillUsed(busy, report)
	if s.WritersMigrated {
		return f, nil
	}
	return nil, f
}

// lookFunc is usage.Look for a plan, and usage.StoreLook for an apply.
type lookFunc func(ctx context.Context, env *stage.Env, table pg.TableName, columns []string) (*usage.Report, error)

func (s *Spec) stillUsed(busy []usage.Statement, report *usage.Report) *finding.Finding {
	var lines []string
	for _, statement := range busy[:min(len(busy), shownStatements)] {
		calls := finding.Count(statement.Calls, "call") + " in all"
		if statement.CallsSince != nil {
			calls = finding.Count(*statement.CallsSince, "call") + " since the last look"
		}
		lines = append(lines, fmt.Sprintf("role %s, %s: %s", statement.Role, calls, statement.Brief()))
	}
	if more := len(busy) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	since := "Nobody has looked at them before, so that it is not known when they ran."
	if report.LastLook != nil {
		since = fmt.Sprintf("The last look was an apply at %s.", report.LastLook.UTC().Format(time.RFC3339))
	}
	return finding.New(fmt.Sprintf("%s use columns of %s", finding.Count(len(busy), "statement"), s.describe()),
		fmt.Sprintf("pg_stat_statements has counted these, which name the columns, and they are not known to have been quiet for %s:\n%s\n\n%s Each apply looks "+
			"again. After the contract they would fail. When they are known to be of the past, say so:\n\n  writers_migrated = true\n\nor, for all "+
			"statements of a role:\n\n  ignore = [%q]", s.QuietFor, finding.List(lines), since, busy[0].Role)).At("quiet_for")
}
