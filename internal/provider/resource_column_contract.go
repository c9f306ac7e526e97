package provider

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/setplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
)

type contractModel struct {
	commonModel
	Columns         types.Set    `tfsdk:"columns"`
	Mode            types.String `tfsdk:"mode"`
	Drops           types.Set    `tfsdk:"drops"`
	IgnoreFunctions types.Set    `tfsdk:"ignore_functions"`
	WritersMigrated types.Bool   `tfsdk:"writers_migrated"`
}

func newColumnContract() resource.Resource {
	return &stageResource[contractModel, *contractModel, *contract.Spec, contract.State]{
		definition: definition[contractModel, *contract.Spec, contract.State]{
			name:   "column_contract",
			schema: contractSchema,
			known: func(m *contractModel) bool {
				return known(m.Schema, m.Table, m.Columns, m.Mode, m.Drops, m.IgnoreFunctions, m.WritersMigrated)
			},
			spec:     contractSpec,
			identify: func(s *contract.Spec) string { return pg.FormatID(s.Table, s.Columns) },
			sameSpec: func(a, b *contract.Spec) bool { return a.Mode == b.Mode },
			plan:     func(_, _ *contractModel, _ bool) (bool, diag.Diagnostics) { return false, nil },
			show:     showContract,
			begun:    func(contract.State) bool { return false },
			imported: func(ctx context.Context, columns []string) (map[string]attr.Value, diag.Diagnostics) {
				value, diags := types.SetValueFrom(ctx, types.StringType, columns)
				return map[string]attr.Value{"columns": value, "writers_migrated": types.BoolValue(true)}, diags
			},
			describe:     func(s *contract.Spec) string { return "Contract of " + s.Table.String() },
			applyTimeout: time.Hour,
		},
	}
}

func contractSchema(ctx context.Context) schema.Schema {
	names := []validator.Set{setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(stringvalidator.LengthAtLeast(1))}
	return stageSchema(ctx,
		"Takes the old columns away at the end of a change, in one transaction. It goes ahead only when every backfill that reads them is complete and "+
			"proven again, and nothing else depends on them. In the mode `quarantine` the columns are only renamed, and destroying the resource "+
			"renames them back.",
		"public.users/full_name", "one hour",
		map[string]schema.Attribute{
			"columns": schema.SetAttribute{
				Required: true, ElementType: types.StringType,
				MarkdownDescription: "Columns to take away. Changing them replaces the resource.",
				Validators:          []validator.Set{setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(identifier...)},
				PlanModifiers:       []planmodifier.Set{setplanmodifier.RequiresReplace()},
			},
			"mode": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(contract.Quarantine)),
				Validators: []validator.String{stringvalidator.OneOf(string(contract.Quarantine), string(contract.Drop))},
				MarkdownDescription: "`quarantine`, the default, renames each column to `<name>__quarantined` (shortened to fit 63 bytes), from where it can come back with all its values. " +
					"`drop` drops it for good. A quarantine can be turned into a drop later.",
			},
			"drops": schema.SetAttribute{
				Optional: true, ElementType: types.StringType, Validators: names,
				MarkdownDescription: "Objects that the server drops silently together with a column, such as `\"index public.users_full_name_idx\"`. In the mode " +
					"`drop` each of them must be named; the plan lists them.",
			},
			"ignore_functions": schema.SetAttribute{
				Optional: true, ElementType: types.StringType, Validators: names,
				MarkdownDescription: "Functions whose text mentions a column but that do not need it, such as `\"archive_user(bigint)\"`; the plan lists them.",
			},
			"writers_migrated": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Your word that no service reads or writes the columns any more. The contract needs it, because a service that still names " +
					"them gets errors, in both modes. The default is `false`.",
			},
		})
}

func contractSpec(ctx context.Context, _ *stage.Env, m, prior *contractModel) (*contract.Spec, diag.Diagnostics) {
	var diags diag.Diagnostics
	spec := &contract.Spec{
		ID: m.ID.ValueString(), Table: m.tableName(), Mode: contract.Mode(m.Mode.ValueString()),
		WritersMigrated: m.WritersMigrated.ValueBool(),
	}
	diags.Append(m.Columns.ElementsAs(ctx, &spec.Columns, false)...)
	diags.Append(m.Drops.ElementsAs(ctx, &spec.Drops, false)...)
	diags.Append(m.IgnoreFunctions.ElementsAs(ctx, &spec.IgnoreFunctions, false)...)
	slices.Sort(spec.Columns)
	if prior != nil {
		spec.Prior = contract.Mode(prior.Mode.ValueString())
	}
	return spec, diags
}

func showContract(_ context.Context, m *contractModel, observed contract.State) diag.Diagnostics {
	m.Mode = types.StringValue(string(observed.Spec.Mode))
	return nil
}
