package provider

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/watch"
)

type backfillProgressModel struct {
	Schema      types.String `tfsdk:"schema"`
	Table       types.String `tfsdk:"table"`
	ID          types.String `tfsdk:"id"`
	Backfills   types.List   `tfsdk:"backfills"`
	AllComplete types.Bool   `tfsdk:"all_complete"`
	Summary     types.String `tfsdk:"summary"`
}

type progressOfBackfill struct {
	ID               types.String  `tfsdk:"id"`
	Schema           types.String  `tfsdk:"schema"`
	Table            types.String  `tfsdk:"table"`
	Status           types.String  `tfsdk:"status"`
	Running          types.Bool    `tfsdk:"running"`
	Percent          types.Float64 `tfsdk:"percent"`
	RowsUpdated      types.Int64   `tfsdk:"rows_updated"`
	RowsEstimated    types.Int64   `tfsdk:"rows_estimated"`
	PagesDone        types.Int64   `tfsdk:"pages_done"`
	PagesTotal       types.Int64   `tfsdk:"pages_total"`
	RowsPerSecond    types.Int64   `tfsdk:"rows_per_second"`
	MaxRowsPerSecond types.Int64   `tfsdk:"max_rows_per_second"`
	LimitedBy        types.String  `tfsdk:"limited_by"`
	Throttled        types.String  `tfsdk:"throttled"`
	Blockers         types.String  `tfsdk:"blockers"`
	HOTPercent       types.Float64 `tfsdk:"hot_percent"`
	Holder           types.String  `tfsdk:"holder"`
	Note             types.String  `tfsdk:"note"`
	Elapsed          types.String  `tfsdk:"elapsed"`
	Remaining        types.String  `tfsdk:"remaining"`
	SinceCheckpoint  types.String  `tfsdk:"since_checkpoint"`
	StartedAt        types.String  `tfsdk:"started_at"`
	CompletedAt      types.String  `tfsdk:"completed_at"`
}

var progressOfBackfillType = types.ObjectType{AttrTypes: map[string]attr.Type{
	"id": types.StringType, "schema": types.StringType, "table": types.StringType, "status": types.StringType, "running": types.BoolType,
	"percent": types.Float64Type, "rows_updated": types.Int64Type, "rows_estimated": types.Int64Type, "pages_done": types.Int64Type,
	"pages_total": types.Int64Type, "rows_per_second": types.Int64Type, "max_rows_per_second": types.Int64Type, "limited_by": types.StringType,
	"throttled": types.StringType, "blockers": types.StringType, "hot_percent": types.Float64Type, "holder": types.StringType,
	"note": types.StringType, "elapsed": types.StringType, "remaining": types.StringType, "since_checkpoint": types.StringType,
	"started_at": types.StringType, "completed_at": types.StringType,
}}

// show writes those that are wanted into the model. asked is false when there was no database to ask.
func (m *backfillProgressModel) show(ctx context.Context, all []ledger.Progress, wanted func(ledger.Progress) bool, asked bool) (diags diag.Diagnostics) {
	var found []ledger.Progress
	var lines []string
	complete := asked
	for _, p := range all {
		if wanted(p) {
			found = append(found, p)
			lines = append(lines, watch.Line(p))
			complete = complete && p.Complete()
		}
	}
	switch {
	case !asked:
		lines = []string{"The database was not asked."}
	case len(found) == 0:
		lines = []string{"No such backfill has begun."}
		complete = m.ID.IsNull()
	}
	m.Backfills = showList(ctx, &diags, progressOfBackfillType, found, showProgress)
	m.AllComplete = types.BoolValue(complete)
	m.Summary = types.StringValue(strings.Join(lines, "\n"))
	return diags
}

func showProgress(p ledger.Progress) progressOfBackfill {
	shown := progressOfBackfill{
		ID: types.StringValue(p.Backfill), Schema: types.StringValue(p.Schema), Table: types.StringValue(p.Name), Status: types.StringValue(p.Status),
		Running: types.BoolValue(p.Running), Percent: types.Float64Value(p.Percent), RowsUpdated: types.Int64Value(p.RowsUpdated),
		PagesDone: types.Int64Value(p.PagesDone), PagesTotal: types.Int64Value(p.PagesTotal), RowsPerSecond: types.Int64Value(p.RowsPerSecond),
		LimitedBy: types.StringValue(p.LimitedBy), Throttled: types.StringValue(p.Throttled), Blockers: types.StringValue(p.Blockers),
		HOTPercent: types.Float64PointerValue(p.HOTPercent), Holder: types.StringValue(p.Holder), Note: types.StringValue(p.Note),
		Elapsed: types.StringValue(p.Elapsed.String()), Remaining: showDuration(p.Remaining), SinceCheckpoint: showDuration(p.SinceCheckpoint),
		StartedAt: showTime(p.StartedAt), CompletedAt: showTime(p.CompletedAt),
	}
	if p.RowsEstimated >= 0 {
		shown.RowsEstimated = types.Int64Value(p.RowsEstimated)
	}
	if p.MaxRowsPerSecond > 0 {
		shown.MaxRowsPerSecond = types.Int64Value(p.MaxRowsPerSecond)
	}
	return shown
}

func showDuration(d *time.Duration) types.String {
	if d == nil {
		return types.StringNull()
	}
	return types.StringValue(d.String())
}
