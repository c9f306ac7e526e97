package provider

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/list"
	"github.com/hashicorp/terraform-plugin-framework/list/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// listModel is the configuration of a list block.
type listModel struct {
	Schema types.String `tfsdk:"schema"`
	Table  types.String `tfsdk:"table"`
}

// ListResourceConfigSchema describes a list block.
func (r *stageResource[M, PM, S, O]) ListResourceConfigSchema(_ context.Context, _ list.ListResourceSchemaRequest, resp *list.ListResourceSchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: fmt.Sprintf("Finds each `%s_%s` that the ledger knows and that stands in the database, whether a state has it or not, with what it takes "+
			"to import it.", typeName, r.name),
		Attributes: map[string]schema.Attribute{
			"schema": schema.StringAttribute{
				Optional: true, Validators: identifier,
				MarkdownDescription: "Schema of the tables, exactly as it is written in the catalogs. Without it, those of all schemas are listed.",
			},
			"table": schema.StringAttribute{
				Optional: true, Validators: identifier,
				MarkdownDescription: "Name of a table, without quotes, exactly as it is written in the catalogs. Without it, those of all tables are listed.",
			},
		},
	}
}

// List finds the stages that can be imported, ordered by table and identity.
func (r *stageResource[M, PM, S, O]) List(ctx context.Context, req list.ListRequest, stream *list.ListResultsStream) {
	var config listModel
	diags := req.Config.Get(ctx, &config)
	if diags.HasError() {
		stream.Results = list.ListResultsStreamDiagnostics(diags)
		return
	}
	records, err := r.records(ctx)
	if err != nil {
		r.addLedgerError(&diags, err, fmt.Sprintf("List of %s_%s needs it", typeName, r.name))
		stream.Results = list.ListResultsStreamDiagnostics(diags)
		return
	}
	stream.Results = func(push func(list.ListResult) bool) {
		var pushed int64
		for _, record := range records {
			if !config.wants(record.Table) {
				continue
			}
			result, found := r.listed(ctx, req, record)
			if !found {
				continue
			}
			if pushed++; !push(result) || pushed == req.Limit {
				return
			}
		}
	}
}

func (m *listModel) wants(table pg.TableName) bool {
	return (m.Schema.IsNull() || m.Schema.ValueString() == table.Schema) && (m.Table.IsNull() || m.Table.ValueString() == table.Name)
}

// listed returns the result for a record, unless its stage does not stand any more. One that cannot be read must not hide the
// others: it is a warning.
func (r *stageResource[M, PM, S, O]) listed(ctx context.Context, req list.ListRequest, record *ledger.Stage) (result list.ListResult, found bool) {
	table, columns, err := pg.ParseID(record.Key)
	if err != nil {
		return unlisted(record, err), true
	}
	result = req.NewListResult(ctx)
	m, diags := r.adopt(ctx, result.Resource, table, columns, record)
	if diags.HasError() {
		return list.ListResult{Diagnostics: diags}, true
	}
	found, err = r.refresh(ctx, m, &diags)
	switch {
	case err != nil:
		return unlisted(record, err), true
	case !found:
		return result, false
	}
	status := string(record.Status)
	if record.Retired() {
		status = "retired"
	}
	for i, column := range columns {
		columns[i] = strings.TrimPrefix(table.Column(column), table.String()+".")
	}
	result.DisplayName = fmt.Sprintf("%s (%s): %s", table, strings.Join(columns, ", "), status)
	diags.Append(setIdentity[M, PM](ctx, m, result.Identity)...)
	if req.IncludeResource {
		diags.Append(result.Resource.Set(ctx, m)...)
	}
	result.Diagnostics = diags
	return result, true
}

func unlisted(record *ledger.Stage, err error) list.ListResult {
	var diags diag.Diagnostics
	addErrors(&diags, err, "It cannot be read")
	var warnings diag.Diagnostics
	for _, d := range diags {
		warnings.AddWarning(fmt.Sprintf("%s_%s %s is not listed", typeName, record.Kind, record.Key), d.Summary()+"\n\n"+d.Detail())
	}
	return list.ListResult{Diagnostics: warnings}
}
