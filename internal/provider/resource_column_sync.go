package provider

import (
	"context"
	"reflect"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

type syncModel struct {
	commonModel
	Forward      types.Map    `tfsdk:"forward"`
	Reverse      types.Map    `tfsdk:"reverse"`
	Conflict     types.String `tfsdk:"conflict"`
	EnableAlways types.Bool   `tfsdk:"enable_always"`
}

func newColumnSync() resource.Resource {
	return &stageResource[syncModel, *syncModel, *dualwrite.Spec, dualwrite.State]{
		definition: definition[syncModel, *dualwrite.Spec, dualwrite.State]{
			name:   "column_sync",
			schema: syncSchema,
			known: func(m *syncModel) bool {
				return known(m.Schema, m.Table, m.Forward, m.Reverse, m.Conflict, m.EnableAlways)
			},
			validate:     validateSync,
			spec:         syncSpec,
			identify:     func(s *dualwrite.Spec) string { return dualwrite.ID(s.Table, s.Forward) },
			sameSpec:     func(a, b *dualwrite.Spec) bool { return reflect.DeepEqual(a, b) },
			plan:         func(_, _ *syncModel, _ bool) (bool, diag.Diagnostics) { return false, nil },
			show:         showSync,
			begun:        func(dualwrite.State) bool { return false },
			imported:     importSync,
			describe:     func(s *dualwrite.Spec) string { return "Sync of " + s.Table.String() },
			applyTimeout: time.Hour,
		},
	}
}

func syncSchema(ctx context.Context) schema.Schema {
	nonEmpty := []validator.String{stringvalidator.LengthAtLeast(1)}
	conflicts := make([]string, len(dualwrite.Conflicts))
	for i, c := range dualwrite.Conflicts {
		conflicts[i] = string(c)
	}
	return stageSchema(ctx,
		"Keeps the old and the new columns of a change equal while services move from one to the other: one trigger fills the side that a writer left out, "+
			"or has not changed. No service needs to write both. It also notes who still writes one side only. A backfill that fills the new columns "+
			"passes it by. Destroying the resource drops the trigger; the data stays. What it does with every kind of write: [Move services one by one](../guides/move-services.md).",
		"public.users/first_name,last_name", "one hour",
		map[string]schema.Attribute{
			"forward": schema.MapAttribute{
				Required: true, ElementType: types.StringType,
				MarkdownDescription: "SQL expression over the row for each new column, of the column's own type. It is used when a row comes with the old side only, when " +
					"the old side of a row is changed and the new side is not, and when a row whose new columns are all `NULL` is updated. The expressions " +
					"are compiled against the live table at plan time and tried on some of its rows. Functions and types outside of `pg_catalog` need their schema.",
				Validators: []validator.Map{mapvalidator.SizeAtLeast(1), mapvalidator.KeysAre(identifier...), mapvalidator.ValueStringsAre(nonEmpty...)},
			},
			"reverse": schema.MapAttribute{
				Optional: true, ElementType: types.StringType,
				MarkdownDescription: "SQL expression over the row for each old column. It is used when a row comes with the new side only, and when the new side of a row is " +
					"changed and the old side is not. Without it the old columns stay as they are in these cases, so that services that read them " +
					"miss what others write.",
				Validators: []validator.Map{mapvalidator.SizeAtLeast(1), mapvalidator.KeysAre(identifier...), mapvalidator.ValueStringsAre(nonEmpty...)},
			},
			"conflict": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(dualwrite.KeepBoth)),
				Validators: []validator.String{stringvalidator.OneOf(conflicts...)},
				MarkdownDescription: "What happens when an update changes both sides of a row. `keep_both`, the default, trusts the writer; `old_wins` computes the new side " +
					"from the old one; `new_wins` computes the old side from the new one; `reject` fails the statement unless one side follows from the other.",
			},
			"enable_always": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Whether the trigger also runs for changes that logical replication applies, and in sessions whose `session_replication_role` is " +
					"`replica`. The default is `false`. Set it on a subscriber whose publisher does not have the new columns.",
			},
		})
}

func validateSync(m *syncModel) (diags diag.Diagnostics) {
	if m.Conflict.ValueString() == string(dualwrite.NewWins) && m.Reverse.IsNull() {
		diags.AddAttributeError(path.Root("conflict"), "Conflict policy new_wins needs reverse",
			"It computes the old side from the new one, and nothing says how. Set reverse, or another policy.")
	}
	return diags
}

func syncSpec(ctx context.Context, env *stage.Env, m, _ *syncModel) (*dualwrite.Spec, diag.Diagnostics) {
	var diags diag.Diagnostics
	spec := &dualwrite.Spec{
		ID: m.ID.ValueString(), Table: m.tableName(), Conflict: dualwrite.Conflict(m.Conflict.ValueString()),
		EnableAlways: m.EnableAlways.ValueBool(), Schema: env.Ledger.Schema,
	}
	diags.Append(m.Forward.ElementsAs(ctx, &spec.Forward, false)...)
	diags.Append(m.Reverse.ElementsAs(ctx, &spec.Reverse, false)...)
	return spec, diags
}

func showSync(ctx context.Context, m *syncModel, observed dualwrite.State) (diags diag.Diagnostics) {
	spec := observed.Spec
	m.Conflict = types.StringValue(string(spec.Conflict))
	m.EnableAlways = types.BoolValue(spec.EnableAlways)
	var more diag.Diagnostics
	m.Forward, more = types.MapValueFrom(ctx, types.StringType, spec.Forward)
	diags.Append(more...)
	m.Reverse = types.MapNull(types.StringType)
	if len(spec.Reverse) > 0 {
		m.Reverse, more = types.MapValueFrom(ctx, types.StringType, spec.Reverse)
		diags.Append(more...)
	}
	return diags
}

// importSync leaves everything to the ledger.
func importSync(context.Context, []string) (map[string]attr.Value, diag.Diagnostics) {
	return map[string]attr.Value{
		"forward": types.MapValueMust(types.StringType, map[string]attr.Value{}), "conflict": types.StringValue(string(dualwrite.KeepBoth)),
	}, nil
}
