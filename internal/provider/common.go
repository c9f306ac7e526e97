package provider

import (
	"context"
	"maps"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// commonModel holds the attributes that all stages have.
type commonModel struct {
	ID         types.String   `tfsdk:"id"`
	Schema     types.String   `tfsdk:"schema"`
	Table      types.String   `tfsdk:"table"`
	Statements types.List     `tfsdk:"statements"`
	Hazards    types.List     `tfsdk:"hazards"`
	Timeouts   timeouts.Value `tfsdk:"timeouts"`
}

func (m *commonModel) common() *commonModel { return m }

func (m *commonModel) tableName() pg.TableName {
	return pg.TableName{Schema: m.Schema.ValueString(), Name: m.Table.ValueString()}
}

var identifier = []validator.String{stringvalidator.LengthBetween(1, pg.MaxIdentifierBytes)}

var (
	statementType = map[string]attr.Type{"sql": types.StringType, "lock": types.StringType, "effect": types.StringType}
	hazardType    = map[string]attr.Type{"type": types.StringType, "message": types.StringType}
)

// stageSchema returns the schema of a stage: its own attributes and the common ones.
func stageSchema(ctx context.Context, description, idExample, limit string, own map[string]schema.Attribute) schema.Schema {
	attributes := map[string]schema.Attribute{
		"id": schema.StringAttribute{
			Computed:            true,
			MarkdownDescription: "Identity of the stage in the ledger, such as `" + idExample + "`. It stays when columns are added or removed later.",
			PlanModifiers:       []planmodifier.String{stringplanmodifier.UseStateForUnknown()},
		},
		"schema": schema.StringAttribute{
			Optional: true, Computed: true, Default: stringdefault.StaticString("public"), Validators: identifier,
			MarkdownDescription: "Schema of the table, exactly as it is written in the catalogs. The default is `public`. Changing it replaces the resource.",
			PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
		},
		"table": schema.StringAttribute{
			Required: true, Validators: identifier,
			MarkdownDescription: "Name of the table, without quotes, exactly as it is written in the catalogs. Refer to the `table` attribute of the " +
				"stage that comes before, so that Terraform keeps the order. Changing it replaces the resource.",
			PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
		},
		"statements": schema.ListNestedAttribute{
			Computed: true,
			MarkdownDescription: "What the stage runs. It is known at plan time and follows from the configuration and the prior state, so that it can be reviewed and " +
				"checked by policies.",
			NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
				"sql": schema.StringAttribute{Computed: true, MarkdownDescription: "The statement."},
				"lock": schema.StringAttribute{Computed: true, MarkdownDescription: "The strongest lock that it takes on the table, by its name in " +
					"PostgreSQL's documentation."},
				"effect": schema.StringAttribute{Computed: true, MarkdownDescription: "What it does to the rows: `metadata only`, `batched update`, `batched copy` or `rewrites`."},
			}},
		},
		"hazards": schema.ListNestedAttribute{
			Computed:            true,
			MarkdownDescription: "What a reviewer should weigh. Like `statements` it is known at plan time, so that a policy can allow or refuse it by `type`.",
			NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
				"type":    schema.StringAttribute{Computed: true, MarkdownDescription: "Stable name of the kind: " + hazardTypes() + "."},
				"message": schema.StringAttribute{Computed: true, MarkdownDescription: "What it means for the table."},
			}},
		},
		"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
			Create: true, Update: true, Delete: true,
			CreateDescription: "How long creating may take, such as `\"30m\"`. The default is " + limit + ". Nothing that was done is lost when the time is up.",
			UpdateDescription: "How long updating may take. The default is " + limit + ".",
			DeleteDescription: "How long destroying may take. The default is one hour.",
		}),
	}
	maps.Copy(attributes, own)
	return schema.Schema{MarkdownDescription: description, Attributes: attributes}
}

// previewer is a stage, of which only what follows from the configuration is asked for.
type previewer interface {
	Preview() []ddl.Statement
	Hazards() []ddl.Hazard
}

// showPreview writes what a stage runs, and what to weigh about it, into the model.
func (m *commonModel) showPreview(of previewer) (diags diag.Diagnostics) {
	var more diag.Diagnostics
	m.Statements, more = listOf(statementType, of.Preview(), func(s ddl.Statement) map[string]attr.Value {
		return map[string]attr.Value{
			"sql": types.StringValue(s.SQL), "lock": types.StringValue(string(s.Lock)), "effect": types.StringValue(string(s.Effect)),
		}
	})
	diags.Append(more...)
	m.Hazards, more = listOf(hazardType, of.Hazards(), func(h ddl.Hazard) map[string]attr.Value {
		return map[string]attr.Value{"type": types.StringValue(string(h.Type)), "message": types.StringValue(h.Message)}
	})
	diags.Append(more...)
	return diags
}

// listOf turns a slice into a list of objects.
func listOf[T any](attributes map[string]attr.Type, from []T, show func(T) map[string]attr.Value) (types.List, diag.Diagnostics) {
	var diags diag.Diagnostics
	values := make([]attr.Value, len(from))
	for i, v := range from {
		object, more := types.ObjectValue(attributes, show(v))
		diags.Append(more...)
		values[i] = object
	}
	list, more := types.ListValue(types.ObjectType{AttrTypes: attributes}, values)
	diags.Append(more...)
	return list, diags
}

// hazardTypes lists the types for documentation.
func hazardTypes() string {
	names := make([]string, len(ddl.HazardTypes))
	for i, t := range ddl.HazardTypes {
		names[i] = "`" + string(t) + "`"
	}
	return strings.Join(names, ", ")
}
