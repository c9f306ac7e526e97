package provider

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

type backfillModel struct {
	commonModel
	Set         types.Map    `tfsdk:"set"`
	Overwrite   types.Bool   `tfsdk:"overwrite"`
	Where       types.String `tfsdk:"where"`
	Status      types.String `tfsdk:"status"`
	RowsUpdated types.Int64  `tfsdk:"rows_updated"`
	backfillOptions
	FireTriggers types.Bool `tfsdk:"fire_triggers"`
}

// backfillTimeout leaves the largest tables their time; nothing is lost when it ends.
const backfillTimeout = 7 * 24 * time.Hour

func newBatchedBackfill() resource.Resource {
	return &stageResource[backfillModel, *backfillModel, *backfill.Spec, backfill.State]{
		definition: definition[backfillModel, *backfill.Spec, backfill.State]{
			name:   "batched_backfill",
			schema: backfillSchema,
			known: func(m *backfillModel) bool {
				return allKnown(m.Schema, m.Table, m.Set, m.Overwrite, m.Where, m.FireTriggers) && m.optionsKnown()
			},
			spec:     backfillSpec,
			identify: func(s *backfill.Spec) string { return backfill.ID(s.Table, s.Set) },
			sameSpec: func(a, b *backfill.Spec) bool { return a.SameWork(b) },
			plan:     planBackfill,
			show:     showBackfill,
			retune: func(ctx context.Context, env *stage.Env, s *backfill.Spec) (*backfill.State, error) {
				return s.Retune(ctx, env)
			},
			applied:      warnUnfinished,
			begun:        func(observed backfill.State) bool { return observed.Status != "" },
			imported:     importBackfill,
			describe:     func(s *backfill.Spec) string { return "Backfill of " + s.Table.String() },
			applyTimeout: backfillTimeout,
		},
	}
}

func backfillSchema(ctx context.Context) schema.Schema {
	nonEmpty := []validator.String{stringvalidator.LengthAtLeast(1)}
	attributes := backfillOptionAttributes()
	maps.Copy(attributes, map[string]schema.Attribute{
		"set": schema.MapAttribute{
			Required: true, ElementType: types.StringType,
			MarkdownDescription: "SQL expression over the row, by target column, of the column's own type. A target that has a value already keeps it, so " +
				"that what a service wrote is never overwritten, unless `overwrite` is set. The expressions are compiled against the live table at plan time.",
			Validators: []validator.Map{mapvalidator.SizeAtLeast(1), mapvalidator.KeysAre(identifier...), mapvalidator.ValueStringsAre(nonEmpty...)},
		},
		"overwrite": schema.BoolAttribute{
			Optional: true, Computed: true, Default: booldefault.StaticBool(false),
			MarkdownDescription: "Whether to recompute every target that differs from its expression, instead of only filling those that are `NULL`. The " +
				"default is `false`. Use it only for columns that nobody else writes.",
		},
		"where": schema.StringAttribute{
			Optional: true, Validators: nonEmpty,
			MarkdownDescription: "SQL condition that narrows the rows. Rows that it leaves out count as done.",
		},
		"status": schema.StringAttribute{
			Computed:            true,
			MarkdownDescription: "`running` after an interruption, until an apply goes on; `complete` after the proof that no row is left.",
		},
		"rows_updated": schema.Int64Attribute{Computed: true, MarkdownDescription: "How many rows the backfill has updated since it began or its expressions last changed. Rows that services had filled " +
			"already are not among them."},
		"fire_triggers": schema.BoolAttribute{
			Optional: true,
			MarkdownDescription: "Whether the table's own triggers fire for the rows that are updated, as they do for a service. The default is `true`. With `false`, the " +
				"batches set `session_replication_role`, for which the role needs a grant; the plan says which. It is refused where foreign keys, deferrable " +
				"constraints, constraint triggers or another `postgres_column_sync` would not notice the rows either.",
		},
	})
	return stageSchema(ctx,
		"Fills columns of the rows that exist, in small transactions that take row locks only, and proves at the end that no row is left. It can be "+
			"interrupted at any instant, by Ctrl-C as well as by a crash: the next apply goes on where it stopped. Destroying the resource forgets "+
			"the job; the data stays.",
		"public.users/first_name,last_name", "seven days",
		attributes)
}

func backfillSpec(ctx context.Context, _ *stage.Env, m, _ *backfillModel) (*backfill.Spec, diag.Diagnostics) {
	spec := &backfill.Spec{
		ID: m.ID.ValueString(), Table: m.tableName(), Set: make(map[string]string), Overwrite: m.Overwrite.ValueBool(),
		Where: m.Where.ValueString(), QuietTriggers: m.FireTriggers.Equal(types.BoolValue(false)),
	}
	diags := m.Set.ElementsAs(ctx, &spec.Set, false)
	options, more := m.options(ctx)
	diags.Append(more...)
	spec.Options = options
	return spec, diags
}

// planBackfill shows that an interrupted backfill is going to be completed.
func planBackfill(m, prior *backfillModel, changed bool) (pending bool, diags diag.Diagnostics) {
	if prior == nil {
		// An interrupted create reports success with the status "running", so the plan must not promise "complete".
		m.Status, m.RowsUpdated = types.StringUnknown(), types.Int64Unknown()
		return true, nil
	}
	pending = prior.Status.ValueString() != string(ledger.Complete)
	m.Status, m.RowsUpdated = prior.Status, prior.RowsUpdated
	if pending || changed {
		m.Status, m.RowsUpdated = types.StringValue(string(ledger.Complete)), types.Int64Unknown()
		if !m.ApplyBudget.IsNull() { // It may end the apply before.
			m.Status = types.StringUnknown()
		}
	}
	return pending, nil
}

func showBackfill(ctx context.Context, m *backfillModel, observed backfill.State) diag.Diagnostics {
	m.Status = types.StringValue(string(observed.Status))
	m.RowsUpdated = types.Int64Value(observed.RowsUpdated)
	m.Overwrite = types.BoolValue(observed.Spec.Overwrite)
	m.Where = nullIfEmpty(observed.Spec.Where)
	var diags diag.Diagnostics
	m.Set, diags = types.MapValueFrom(ctx, types.StringType, observed.Spec.Set)
	return diags
}

// warnUnfinished says that the time of an apply was up before the backfill was complete.
func warnUnfinished(ctx context.Context, env *stage.Env, s *backfill.Spec, observed backfill.State) []*finding.Finding {
	if observed.Status == ledger.Complete {
		return nil
	}
	return []*finding.Finding{s.Unfinished(ctx, env, fmt.Sprintf("its apply_budget of %s", s.Options.ApplyBudget))}
}

// importBackfill leaves everything to the ledger.
func importBackfill(context.Context, []string) (map[string]attr.Value, diag.Diagnostics) {
	return map[string]attr.Value{"set": types.MapValueMust(types.StringType, map[string]attr.Value{})}, nil
}
