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
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/expand"
)

type expandModel struct {
	commonModel
	Columns      types.Map  `tfsdk:"columns"`
	ForceDestroy types.Bool `tfsdk:"force_destroy"`
}

// expandColumn is an element of columns.
type expandColumn struct {
	Type    types.String `tfsdk:"type"`
	Default types.String `tfsdk:"default"`
	NotNull types.Bool   `tfsdk:"not_null"`
}

var expandColumnType = map[string]attr.Type{"type": types.StringType, "default": types.StringType, "not_null": types.BoolType}

func newColumnExpand() resource.Resource {
	return &stageResource[expandModel, *expandModel, *expand.Spec, expand.State]{
		definition: definition[expandModel, *expand.Spec, expand.State]{
			name:         "column_expand",
			schema:       expandSchema,
			known:        func(m *expandModel) bool { return known(m.Schema, m.Table, m.Columns, m.ForceDestroy) },
			spec:         expandSpec,
			identify:     func(s *expand.Spec) string { return pg.FormatID(s.Table, s.Names()) },
			sameSpec:     func(a, b *expand.Spec) bool { return reflect.DeepEqual(a.Columns, b.Columns) },
			plan:         func(_, _ *expandModel, _ bool) (bool, diag.Diagnostics) { return false, nil },
			show:         showExpand,
			begun:        func(expand.State) bool { return false },
			imported:     importExpand,
			describe:     func(s *expand.Spec) string { return "Expand of " + s.Table.String() },
			applyTimeout: time.Hour,
		},
	}
}

func expandSchema(ctx context.Context) schema.Schema {
	return stageSchema(ctx,
		"Adds columns to a live table, in ways that change metadata only: the lock is held for milliseconds, and no row is touched. What would "+
			"rewrite or scan the table is refused at plan time, with the staged way to have it. Destroying the resource drops the columns, unless "+
			"they hold the only copy of data.",
		"public.users/first_name,last_name", "one hour",
		map[string]schema.Attribute{
			"columns": schema.MapNestedAttribute{
				Required: true,
				MarkdownDescription: "Columns to add, by name. Columns can be added and removed later; a removed one is dropped, under the same guard as " +
					"destroying the resource.",
				Validators: []validator.Map{mapvalidator.SizeAtLeast(1), mapvalidator.KeysAre(identifier...)},
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"type": schema.StringAttribute{
						Required: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
						MarkdownDescription: "Data type, as in `CREATE TABLE`. It cannot be changed in place, because that may rewrite the table.",
					},
					"default": schema.StringAttribute{
						Optional: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
						MarkdownDescription: "SQL expression for the default, such as `\"'unknown'\"` or `\"now()\"`. It must not be volatile: it is computed " +
							"once, when the column is added, for all rows that exist.",
					},
					"not_null": schema.BoolAttribute{
						Optional: true, Computed: true, Default: booldefault.StaticBool(false),
						MarkdownDescription: "Whether the column is `NOT NULL`, which needs a `default`. The default is `false`.",
					},
				}},
			},
			"force_destroy": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Whether columns may be dropped although they hold values that are nowhere else. The default is `false`.",
			},
		})
}

func expandSpec(ctx context.Context, _ *stage.Env, m, prior *expandModel) (*expand.Spec, diag.Diagnostics) {
	var diags diag.Diagnostics
	spec := &expand.Spec{
		ID: m.ID.ValueString(), Table: m.tableName(), ForceDestroy: m.ForceDestroy.ValueBool(),
		Columns: make(map[string]expand.Column),
	}
	columns := make(map[string]expandColumn)
	diags.Append(m.Columns.ElementsAs(ctx, &columns, false)...)
	for _, name := range stage.SortedKeys(columns) {
		c := columns[name]
		spec.Columns[name] = expand.Column{Type: c.Type.ValueString(), Default: c.Default.ValueString(), NotNull: c.NotNull.ValueBool()}
		if c.NotNull.ValueBool() && c.Default.IsNull() {
			diags.AddAttributeError(path.Root("columns").AtMapKey(name).AtName("not_null"), "Column "+spec.Table.Column(name)+" is NOT NULL without a default",
				"The rows that exist would have no value for it, and services that do not know it yet could not insert. Add it nullable, or with a default.")
		}
	}
	if prior != nil {
		before := make(map[string]expandColumn)
		diags.Append(prior.Columns.ElementsAs(ctx, &before, false)...)
		spec.Known = stage.SortedKeys(before)
	}
	return spec, diags
}

func showExpand(ctx context.Context, m *expandModel, observed expand.State) diag.Diagnostics {
	columns := make(map[string]expandColumn, len(observed.Columns))
	for name, c := range observed.Columns {
		columns[name] = expandColumn{Type: types.StringValue(c.Type), Default: nullIfEmpty(c.Default), NotNull: types.BoolValue(c.NotNull)}
	}
	var diags diag.Diagnostics
	m.Columns, diags = types.MapValueFrom(ctx, types.ObjectType{AttrTypes: expandColumnType}, columns)
	return diags
}

func importExpand(ctx context.Context, names []string) (map[string]attr.Value, diag.Diagnostics) {
	columns := make(map[string]expandColumn)
	for _, name := range names {
		columns[name] = expandColumn{Type: types.StringValue(""), Default: types.StringNull(), NotNull: types.BoolValue(false)}
	}
	value, diags := types.MapValueFrom(ctx, types.ObjectType{AttrTypes: expandColumnType}, columns)
	return map[string]attr.Value{"columns": value, "force_destroy": types.BoolValue(false)}, diags
}

// known reports whether all values are known, also inside collections.
func known(values ...attr.Value) bool {
	for _, v := range values {
		if v.IsUnknown() {
			return false
		}
		switch v := v.(type) {
		case types.Map:
			for _, e := range v.Elements() {
				if !known(e) {
					return false
				}
			}
		case types.Set:
			if !known(v.Elements()...) {
				return false
			}
		case types.Object:
			for _, e := range v.Attributes() {
				if !known(e) {
					return false
				}
			}
		}
	}
	return true
}

// nullIfEmpty is for attributes whose absence the stage writes as "".
func nullIfEmpty(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}
