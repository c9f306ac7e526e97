package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// backfillOptions say how fast a backfill may go. None of them is computed: what is left out has its default in the engine, so
// that an import finds them as a configuration has them that leaves them out.
type backfillOptions struct {
	TargetDuration   timetypes.GoDuration `tfsdk:"target_duration"`
	MaxRowsPerSecond types.Int64          `tfsdk:"max_rows_per_second"`
	Workers          types.Int64          `tfsdk:"workers"`
	DutyCycle        types.Float64        `tfsdk:"duty_cycle"`
	Windows          types.List           `tfsdk:"windows"`
	ApplyBudget      timetypes.GoDuration `tfsdk:"apply_budget"`
	Throttle         types.Object         `tfsdk:"throttle"`
}

type backfillWindow struct {
	Days     types.Set    `tfsdk:"days"`
	Start    types.String `tfsdk:"start"`
	End      types.String `tfsdk:"end"`
	TimeZone types.String `tfsdk:"time_zone"`
}

// backfillOptionAttributes describes the attributes of backfillOptions.
func backfillOptionAttributes() map[string]schema.Attribute {
	duration := func(description string, least, most time.Duration) schema.StringAttribute {
		return schema.StringAttribute{
			Optional: true, CustomType: timetypes.GoDurationType{}, MarkdownDescription: description,
			Validators: []validator.String{durationBetween{least, most}},
		}
	}
	return map[string]schema.Attribute{
		"target_duration": duration(fmt.Sprintf("How long each transaction should take, such as `\"%s\"`, which is the default; from %s to %s. A writer "+
			"that wants a row of the batch waits that long at most, as a rule. It is never more than a third of the server's `deadlock_timeout`, which is one "+
			"second unless it was changed: a writer that waited longer could be taken for part of a deadlock.", backfill.DefaultTargetDuration, backfill.MinTargetDuration, backfill.MaxTargetDuration),
			backfill.MinTargetDuration, backfill.MaxTargetDuration),
		"max_rows_per_second": schema.Int64Attribute{
			Optional: true, Validators: []validator.Int64{int64validator.AtLeast(1)},
			MarkdownDescription: "How many rows all workers together may update in a second. The default is no bound. An operator can set another one while " +
				"the backfill runs, with the ledger's function `set_rate`.",
		},
		"workers": schema.Int64Attribute{
			Optional: true, Validators: []validator.Int64{int64validator.Between(1, backfill.MaxWorkers)},
			MarkdownDescription: fmt.Sprintf("How many batches run at the same time, up to %d. The default is %d. Each needs a connection, and the backfill "+
				"itself two more: see `max_connections` of the provider.", backfill.MaxWorkers, backfill.DefaultWorkers),
		},
		"duty_cycle": schema.Float64Attribute{
			Optional: true, Validators: []validator.Float64{shareOfTime{}},
			MarkdownDescription: "Share of the time that each worker may be busy, above 0 and up to 1, which is the default. With `0.5` it rests after each " +
				"batch for as long as the batch took.",
		},
		"windows": schema.ListNestedAttribute{
			Optional: true, Validators: []validator.List{listvalidator.SizeAtLeast(1)},
			MarkdownDescription: "Times at which batches may run; outside of all of them the apply waits. The default is always. " +
				"Such as `[{ days = [\"sat\", \"sun\"], start = \"22:00\", end = \"06:00\", time_zone = \"Europe/Berlin\" }]`.",
			NestedObject: schema.NestedAttributeObject{
				Validators: []validator.Object{validWindow{}},
				Attributes: map[string]schema.Attribute{
					"days": schema.SetAttribute{
						Optional: true, ElementType: types.StringType,
						Validators: []validator.Set{setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(stringvalidator.OneOf(backfill.DayNames()...))},
						MarkdownDescription: "Days of the week on which it begins: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`. The default is all of them. A window " +
							"across midnight belongs to the day on which it begins.",
					},
					"start": schema.StringAttribute{Required: true, MarkdownDescription: "Time of the day, such as `22:00`."},
					"end": schema.StringAttribute{
						Required:            true,
						MarkdownDescription: "Time of the day, such as `06:00`; on the next day if it is before `start`. `24:00` is the end of the day.",
					},
					"time_zone": schema.StringAttribute{
						Optional: true,
						MarkdownDescription: "Name in the IANA time zone database, such as `Europe/Berlin`, whose clock the times are of. The default is `UTC`. An hour " +
							"that the clock skips in spring does not come, and one that it repeats in autumn comes twice.",
					},
				},
			},
		},
		"apply_budget": duration("How long one apply may run the backfill, such as `\"50m\"`, for pipelines that end jobs after a time. When it is over, the apply "+
			"ends with a warning and the `status` `running`, and the next one goes on; stages that need the backfill to be complete fail until then. The "+
			"default is no bound.", time.Second, 0),
		"throttle": throttleAttribute(),
	}
}

func (o *backfillOptions) optionsKnown() bool {
	return allKnown(o.TargetDuration, o.MaxRowsPerSecond, o.Workers, o.DutyCycle, o.Windows, o.ApplyBudget, o.Throttle)
}

// allKnown reports whether all values are known, at any depth.
func allKnown(values ...attr.Value) bool {
	for _, v := range values {
		value, err := v.ToTerraformValue(context.Background())
		if err != nil || !value.IsFullyKnown() {
			return false
		}
	}
	return true
}

// options returns what the attributes say.
func (o *backfillOptions) options(ctx context.Context) (options backfill.Options, diags diag.Diagnostics) {
	options = backfill.Options{
		MaxRowsPerSecond: float64(o.MaxRowsPerSecond.ValueInt64()), Workers: int(o.Workers.ValueInt64()), DutyCycle: o.DutyCycle.ValueFloat64(),
	}
	duration := func(value timetypes.GoDuration) (d time.Duration) {
		if !value.IsNull() && !value.IsUnknown() {
			var more diag.Diagnostics
			d, more = value.ValueGoDuration()
			diags.Append(more...)
		}
		return d
	}
	options.TargetDuration, options.ApplyBudget = duration(o.TargetDuration), duration(o.ApplyBudget)
	var list []backfillWindow
	if !o.Windows.IsUnknown() {
		diags.Append(o.Windows.ElementsAs(ctx, &list, false)...)
	}
	for _, w := range list {
		window, err := w.parse(ctx)
		if err != nil {
			addErrors(&diags, err, "Window cannot be read")
			continue
		}
		options.Windows = append(options.Windows, window)
	}
	limits, more := throttleLimits(ctx, o.Throttle)
	diags.Append(more...)
	options.Throttle = limits
	return options, diags
}

func (w backfillWindow) parse(ctx context.Context) (backfill.Window, error) {
	var days []string
	if diags := w.Days.ElementsAs(ctx, &days, false); diags.HasError() {
		return backfill.Window{}, fmt.Errorf("read the days: %s", diags.Errors()[0].Detail())
	}
	return backfill.ParseWindow(days, w.Start.ValueString(), w.End.ValueString(), w.TimeZone.ValueString())
}
