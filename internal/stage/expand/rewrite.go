package expand

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// foretellRewrite tells the reviewer what an accepted rewrite means for the table as it is now.
func (s *Spec) foretellRewrite(ctx context.Context, tx pgx.Tx, found *inspection) (*finding.Finding, error) {
	obstacles, err := ddl.Obstacles(ctx, tx, found.table, ddl.AccessExclusive)
	if err != nil {
		return nil, err
	}
	var why []string
	converts := false
	for _, name := range stage.SortedKeys(found.rewrites) {
		why = append(why, fmt.Sprintf("%s: %s", s.Table.Column(name), found.rewrites[name]))
		_, exists := found.table.Column(name)
		converts = converts || exists
	}
	lossy := ""
	if converts {
		lossy = "Values are converted by the cast of an assignment, which can round, and which reads times in the session's time zone; there is no way " +
			"back to what it changes. Sessions with a prepared statement on the column get the error \"cached plan must not change result type\" once."
	}
	return finding.New(fmt.Sprintf("Expand of %s rewrites the table under an ACCESS EXCLUSIVE lock", s.describe(s.Names())),
		finding.Paragraphs(
			fmt.Sprintf("The table has %s, which are written anew with all indexes. Reads and writes of it wait for the whole rewrite, and replicas get "+
				"all of it as WAL. Use a maintenance window, and have as much disk free as the table and its indexes take.", size(found.table)),
			"It was accepted with allow, because of:\n"+finding.List(why), finding.Paragraphs(obstacles...), lossy,
			"Getting the lock takes short attempts; after that, nothing but timeouts of the resource ends the work. If it is interrupted, everything is as "+
				"before, and the next apply begins anew.")), nil
}
