package ddl

import (
	"context"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Forecast tells the reviewer of a plan what a change under a lock meets on the table right now. The title names the
// change and the table.
func Forecast(ctx context.Context, tx pgx.Tx, table *pg.Table, lock Lock, title string, more ...string) (*finding.Finding, error) {
	found, err := holders(ctx, tx, table.Tree, lock)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(h Holder) bool { return h.Age.Duration() < morePatience })
	rows := "an unknown number of rows"
	if table.EstimatedRows >= 0 {
		rows = "~" + humanize.Comma(int64(table.EstimatedRows)) + " rows"
	}
	paragraphs := []string{fmt.Sprintf("The table has %s (%s). The statements change metadata only, which takes milliseconds; each attempt "+
		"to get the lock waits briefly and gives way, so that the application queues behind it for a moment at most.",
		rows, humanize.IBytes(uint64(max(table.Bytes, 0))))} //nolint:gosec // not negative
	if len(found) > 0 {
		lines := make([]string, len(found))
		for i, h := range found {
			lines[i] = h.String()
		}
		paragraphs = append(paragraphs, "An apply would wait now for:\n"+finding.List(lines))
	}
	return finding.New(fmt.Sprintf("%s takes %s lock for a moment", title, lock.withArticle()), finding.Paragraphs(append(paragraphs, more...)...)), nil
}
