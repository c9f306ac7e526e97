package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/action/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// backfillID is the model of an action that takes a backfill and nothing else.
type backfillID struct {
	ID types.String `tfsdk:"id"`
}

func newBackfillPause() action.Action {
	return newBackfillControl(backfill.Pause, "paused",
		"Stops the batches of a running backfill within about a second. The apply that runs it waits, as does one that comes later, until "+
			"`postgres_backfill_resume`. What was done stays done.")
}

func newBackfillResume() action.Action {
	return newBackfillControl(backfill.Resume, "resumed",
		"Lets a paused backfill go on. It does not begin one: an apply, or `postgres_backfill_run`, does.")
}

func newBackfillControl(control backfill.Control, done, description string) action.Action {
	return &backfillAction[backfillID]{
		name: string(control), description: description,
		attributes: map[string]schema.Attribute{
			"id": idAttribute(false, "The `id` of the `postgres_batched_backfill`. Left out, it concerns all that are not complete."),
		},
		invoke: func(ctx context.Context, env *stage.Env, m *backfillID, resp *action.InvokeResponse) error {
			backfills, err := control.Set(ctx, env, m.ID.ValueString())
			for _, id := range backfills {
				resp.SendProgress(action.InvokeProgressEvent{Message: fmt.Sprintf("Backfill %s is %s", id, done)})
			}
			if err == nil && len(backfills) == 0 {
				resp.SendProgress(action.InvokeProgressEvent{Message: fmt.Sprintf("No backfill is running: there is nothing to %s", control)})
			}
			return err
		},
	}
}
