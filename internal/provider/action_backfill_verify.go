package provider

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/action/schema"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// verifyLimit is how many rows of one relation are counted: their addresses are kept meanwhile.
const verifyLimit = 100_000

func newBackfillVerify() action.Action {
	return &backfillAction[backfillID]{
		name: "verify",
		description: "Looks at all rows of a table anew and fails when some need the work of a backfill, with their number. It changes nothing. It reads the whole " +
			"table in one snapshot.",
		attributes: map[string]schema.Attribute{"id": idAttribute(true, "The `id` of the `postgres_batched_backfill`.")},
		invoke:     verifyBackfill,
	}
}

func verifyBackfill(ctx context.Context, env *stage.Env, m *backfillID, resp *action.InvokeResponse) error {
	spec, err := backfill.Known(ctx, env, m.ID.ValueString())
	if err != nil {
		return err
	}
	rows, err := backfill.Remaining(ctx, env, spec, verifyLimit)
	if err != nil {
		return err
	}
	if rows == 0 {
		resp.SendProgress(action.InvokeProgressEvent{Message: fmt.Sprintf("Backfill %s: no row needs work", spec.ID)})
		return nil
	}
	count := humanize.Comma(int64(rows)) + " rows"
	switch {
	case rows == 1:
		count = "1 row"
	case rows >= verifyLimit:
		count = "At least " + count
	}
	return finding.New(fmt.Sprintf("%s of %s would need the backfill %s", count, spec.Table, spec.ID),
		"Either it is not complete, or rows have come since: some service writes them without filling its columns. To fill the rows, run it:\n\n"+
			"  action \"postgres_backfill_run\" \"fill\" {\n    config {\n      id = "+fmt.Sprintf("%q", spec.ID)+"\n    }\n  }")
}
