package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/action/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/watch"
)

type backfillRun struct {
	ID  types.String         `tfsdk:"id"`
	For timetypes.GoDuration `tfsdk:"for"`
}

func newBackfillRun() action.Action {
	return &backfillAction[backfillRun]{
		name: "run",
		description: "Runs a backfill that the ledger knows, with its options, and shows the progress while it runs. It goes on where an interrupted apply " +
			"stopped. One that is complete is proven anew, and rows that have come since are filled. The `postgres_batched_backfill` finds the outcome at " +
			"its next refresh.",
		attributes: map[string]schema.Attribute{
			"id": idAttribute(true, "The `id` of the `postgres_batched_backfill`."),
			"for": schema.StringAttribute{
				Optional: true, CustomType: timetypes.GoDurationType{}, Validators: []validator.String{durationBetween{least: time.Second}},
				MarkdownDescription: "How long to run at most, such as `\"10m\"`. The default is to the end.",
			},
		},
		invoke: runBackfill,
	}
}

func runBackfill(ctx context.Context, env *stage.Env, m *backfillRun, resp *action.InvokeResponse) error {
	spec, err := backfill.Known(ctx, env, m.ID.ValueString())
	if err != nil {
		return err
	}
	spec.Options.ApplyBudget = 0
	if !m.For.IsNull() {
		budget, diags := m.For.ValueGoDuration()
		if resp.Diagnostics.Append(diags...); diags.HasError() {
			return nil
		}
		spec.Options.ApplyBudget = budget
	}
	say := func(text string) { resp.SendProgress(action.InvokeProgressEvent{Message: text}) }
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tellProgress(watching, env, spec.ID, say)
	}()
	observed, err := spec.Apply(ctx, env)
	stop()
	<-watched
	if err != nil {
		return err
	}
	if observed.Status != ledger.Complete {
		addWarnings(&resp.Diagnostics, []*finding.Finding{spec.Unfinished(ctx, env, fmt.Sprintf("the %s that the action gave it", spec.Options.ApplyBudget))})
	}
	if p, err := spec.Progress(ctx, env); err == nil { // The work is done; a line about it is not worth an error.
		say(watch.Line(p))
	}
	return nil
}

const (
	// lookEvery is how soon a change of state is told.
	lookEvery = time.Second
	// tellEvery is how often a backfill that just goes on is told of.
	tellEvery = 10 * time.Second
)

// tellProgress tells of a running backfill until ctx ends. What it cannot read, it does not tell: the run has the last word.
func tellProgress(ctx context.Context, env *stage.Env, id string, say func(string)) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var state string
	var told time.Time
	for {
		var p ledger.Progress
		err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
			p, err = env.Ledger.Progress(ctx, tx, id)
			return err
		})
		now := time.Now()
		if is := fmt.Sprint(p.Status, p.Note, p.MaxRowsPerSecond); err == nil && p.Running && (is != state || now.Sub(told) >= tellEvery) {
			state, told = is, now
			say(watch.Line(p))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
