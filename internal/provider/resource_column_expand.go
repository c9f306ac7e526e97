package provider

import (
	"context"
	"reflect"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
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
	Allow        types.Set  `tfsdk:"allow"`
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
			known:        func(m *expandModel) bool { return known(m.Schema, m.Table, m.Columns, m.ForceDestroy, m.Allow) },
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
			"rewrite or scan the table is refused at plan time, with the staged way to have it ([Why a blocking change is "+
			"refused](../guides/blocking-changes.md)). Destroying the resource drops the columns, unless "+
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
						MarkdownDescription: "Data type, as in `CREATE TABLE`, without constraints or a collation behind it. It is changed in place only with `allow`, because " +
							"that may rewrite the table.",
					},
					"default": schema.StringAttribute{
						Optional: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
						MarkdownDescription: "SQL expression for the default, such as `\"'unknown'\"` or `\"now()\"`. It is computed once, when the column is added, for " +
							"all rows that exist, so it must not be volatile then. Changed later it is for new rows only, and may be.",
					},
					"not_null": schema.BoolAttribute{
						Optional: true, Computed: true, Default: booldefault.StaticBool(false),
						MarkdownDescription: "Whether the column is `NOT NULL`. To add such a column takes a `default`. One that exists becomes `NOT NULL` only if it " +
							"is already so in the database. The default is `false`.",
					},
				}},
			},
			"allow": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				Validators: []validator.Set{setvalidator.ValueStringsAre(stringvalidator.OneOf(expand.Allowable...))},
				MarkdownDescription: "What is accepted although it blocks, by the name of its hazard. `table_rewrite`: a volatile default, a domain with a " +
					"constraint or a default, and another `type` for a column that exists. Reads and writes of the table wait until all of it is written " +
					"anew, so use a maintenance window.",
			},
			"force_destroy": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Whether columns may be dropped although they hold values that are nowhere else. The default is `false`.",
			},
		})
}

func expandSpec(ctx context.Context, _ *stage.Env, m, prior *expandModel) (*expand.Spec, diag.Diagnostics) {
	spec := &expand.Spec{ID: m.ID.ValueString(), Table: m.tableName(), ForceDestroy: m.ForceDestroy.ValueBool()}
	var diags diag.Diagnostics
	spec.Columns, diags = expandColumns(ctx, m)
	if !m.Allow.IsNull() {
		diags.Append(m.Allow.ElementsAs(ctx, &spec.Allow, false)...)
	}
	if prior != nil {
		was, more := expandColumns(ctx, prior)
		diags.Append(more...)
		spec.Known, spec.Was = stage.SortedKeys(was), was
	}
	return spec, diags
}

func expandColumns(ctx context.Context, m *expandModel) (map[string]expand.Column, diag.Diagnostics) {
	columns, given := make(map[string]expand.Column), make(map[string]expandColumn)
	diags := m.Columns.ElementsAs(ctx, &given, false)
	for name, c := range given {
		columns[name] = expand.Column{Type: c.Type.ValueString(), Default: c.Default.ValueString(), NotNull: c.NotNull.ValueBool()}
	}
	return columns, diags
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
	return map[string]attr.Value{"columns": value, "force_destroy": types.BoolValue(false), "allow": types.SetNull(types.StringType)}, diags
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
