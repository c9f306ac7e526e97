package provider

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
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
	Columns         types.Set            `tfsdk:"columns"`
	Mode            types.String         `tfsdk:"mode"`
	Drops           types.Set            `tfsdk:"drops"`
	IgnoreFunctions types.Set            `tfsdk:"ignore_functions"`
	WritersMigrated types.Bool           `tfsdk:"writers_migrated"`
	QuietFor        timetypes.GoDuration `tfsdk:"quiet_for"`
	Ignore          types.Set            `tfsdk:"ignore"`
	Archive         types.Bool           `tfsdk:"archive"`
	ArchiveTable    types.String         `tfsdk:"archive_table"`
	ArchiveRows     types.Int64          `tfsdk:"archive_rows"`
}

// defaultQuietFor has the jobs in it that run once a night.
const defaultQuietFor = "24h"

func newColumnContract() resource.Resource {
	return &stageResource[contractModel, *contractModel, *contract.Spec, contract.State]{
		definition: definition[contractModel, *contract.Spec, contract.State]{
			name:   "column_contract",
			schema: contractSchema,
			known: func(m *contractModel) bool {
				return known(m.Schema, m.Table, m.Columns, m.Mode, m.Drops, m.IgnoreFunctions, m.WritersMigrated, m.QuietFor, m.Ignore, m.Archive)
			},
			spec:     contractSpec,
			identify: func(s *contract.Spec) string { return pg.FormatID(s.Table, s.Columns) },
			sameSpec: func(a, b *contract.Spec) bool {
				return a.Mode == b.Mode && (a.Mode != contract.Drop || a.Archive == b.Archive)
			},
			plan:  planContract,
			show:  showContract,
			begun: func(contract.State) bool { return false },
			imported: func(ctx context.Context, columns []string) (map[string]attr.Value, diag.Diagnostics) {
				value, diags := types.SetValueFrom(ctx, types.StringType, columns)
				return map[string]attr.Value{
					"columns": value, "writers_migrated": types.BoolValue(true), "archive": types.BoolValue(true),
					"quiet_for": timetypes.NewGoDurationValueFromStringMust(defaultQuietFor),
				}, diags
			},
			describe:     func(s *contract.Spec) string { return "Contract of " + s.Table.String() },
			applyTimeout: time.Hour,
		},
	}
}

func contractSchema(ctx context.Context) schema.Schema {
	names := []validator.Set{setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(stringvalidator.LengthAtLeast(1))}
	return stageSchema(ctx,
		"Takes the old columns away at the end of a change. It goes ahead only when every backfill that reads them is complete and proven again, nothing "+
			"else depends on them, and nobody writes them any more. In the mode `quarantine` the columns are only renamed, and destroying the resource "+
			"renames them back. In the mode `drop` they are archived and dropped, and destroying the resource adds and refills them.",
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
					"`drop` does the same, then archives the column and drops it. A quarantine can be turned into a drop later. After an undo that was " +
					"interrupted, the state has `undoing` until a destroy or an apply goes on with it.",
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
				MarkdownDescription: "Your word that no service reads or writes the columns any more. Without it there must be a `postgres_column_sync` that has watched " +
					"the writers for `quiet_for`, because a service that still names the columns gets errors, in both modes. The default is `false`.",
			},
			"quiet_for": schema.StringAttribute{
				Optional: true, Computed: true, CustomType: timetypes.GoDurationType{}, Default: stringdefault.StaticString(defaultQuietFor),
				MarkdownDescription: "How long nobody may have written rows old style, as the syncs of the columns have noted, nor run a statement that names the columns, as `pg_stat_statements` has counted where it is there. It counts with `writers_migrated` as well. " +
					"The default is `24h`; `0s` switches it off.",
			},
			"ignore": schema.SetAttribute{
				Optional: true, ElementType: types.StringType, Validators: names,
				MarkdownDescription: "Writers that do not count, by their application name or role, and roles whose statements do not count.",
			},
			"archive": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(true),
				MarkdownDescription: "Whether a drop keeps the values that nothing else gives back, by the primary key of their rows, in a table beside the ledger: those that " +
					"the `reverse` of a sync does not reproduce, or all of them when there is none. The default is `true`. Setting it to `false` later " +
					"drops that table; then an undo has `reverse` alone.",
			},
			"archive_table": schema.StringAttribute{Computed: true, MarkdownDescription: "The table with the archive, if there is one."},
			"archive_rows":  schema.Int64Attribute{Computed: true, MarkdownDescription: "How many rows the archive has."},
		})
}

func contractSpec(ctx context.Context, env *stage.Env, m, prior *contractModel) (*contract.Spec, diag.Diagnostics) {
	var diags diag.Diagnostics
	spec := &contract.Spec{
		ID: m.ID.ValueString(), Table: m.tableName(), Mode: contract.Mode(m.Mode.ValueString()),
		WritersMigrated: m.WritersMigrated.ValueBool(), Archive: m.Archive.ValueBool(), Schema: env.Ledger.Schema,
	}
	if !m.QuietFor.IsNull() && !m.QuietFor.IsUnknown() {
		quiet, more := m.QuietFor.ValueGoDuration()
		diags.Append(more...)
		spec.QuietFor = quiet
	}
	diags.Append(m.Ignore.ElementsAs(ctx, &spec.Ignore, false)...)
	diags.Append(m.Columns.ElementsAs(ctx, &spec.Columns, false)...)
	diags.Append(m.Drops.ElementsAs(ctx, &spec.Drops, false)...)
	diags.Append(m.IgnoreFunctions.ElementsAs(ctx, &spec.IgnoreFunctions, false)...)
	slices.Sort(spec.Columns)
	if prior != nil {
		spec.Prior, spec.PriorArchive = contract.Mode(prior.Mode.ValueString()), prior.Archive.ValueBool()
	}
	return spec, diags
}

// planContract says that there is going to be an archive, or not to be one.
func planContract(m, prior *contractModel, changed bool) (pending bool, diags diag.Diagnostics) {
	switch drops := m.Mode.ValueString() == string(contract.Drop) && m.Archive.ValueBool(); {
	case prior != nil && !changed:
		m.ArchiveTable, m.ArchiveRows = prior.ArchiveTable, prior.ArchiveRows
	case drops:
		m.ArchiveTable, m.ArchiveRows = types.StringUnknown(), types.Int64Unknown()
	default:
		m.ArchiveTable, m.ArchiveRows = types.StringNull(), types.Int64Null()
	}
	return false, nil
}

func showContract(_ context.Context, m *contractModel, observed contract.State) diag.Diagnostics {
	m.Mode = types.StringValue(string(observed.Spec.Mode))
	m.Archive = types.BoolValue(observed.Spec.Archive)
	m.ArchiveTable, m.ArchiveRows = nullIfEmpty(observed.ArchiveTable), types.Int64Null()
	if observed.ArchiveTable != "" {
		m.ArchiveRows = types.Int64Value(observed.ArchiveRows)
	}
	return nil
}
