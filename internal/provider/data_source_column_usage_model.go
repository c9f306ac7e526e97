package provider

import (
	"context"
	"strconv"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

type columnUsageModel struct {
	Schema             types.String `tfsdk:"schema"`
	Table              types.String `tfsdk:"table"`
	Columns            types.Set    `tfsdk:"columns"`
	Writers            types.List   `tfsdk:"writers"`
	LegacyWriters      types.List   `tfsdk:"legacy_writers"`
	WatchedSince       types.String `tfsdk:"watched_since"`
	Statements         types.List   `tfsdk:"statements"`
	StatementsSince    types.String `tfsdk:"statements_since"`
	StatementsComplete types.Bool   `tfsdk:"statements_complete"`
	StatementsCoverage types.List   `tfsdk:"statements_coverage"`
	Dependants         types.List   `tfsdk:"dependants"`
	Privileges         types.List   `tfsdk:"privileges"`
	Summary            types.String `tfsdk:"summary"`
}

type usageWriter struct {
	ApplicationName types.String `tfsdk:"application_name"`
	Role            types.String `tfsdk:"role"`
	Address         types.String `tfsdk:"address"`
	Side            types.String `tfsdk:"side"`
	FirstSeen       types.String `tfsdk:"first_seen"`
	LastSeen        types.String `tfsdk:"last_seen"`
	Sync            types.String `tfsdk:"sync"`
}

type usageStatement struct {
	Query      types.String `tfsdk:"query"`
	QueryID    types.String `tfsdk:"query_id"`
	Role       types.String `tfsdk:"role"`
	Certain    types.Bool   `tfsdk:"certain"`
	Reads      []string     `tfsdk:"reads"`
	Writes     []string     `tfsdk:"writes"`
	Calls      types.Int64  `tfsdk:"calls"`
	CallsSince types.Int64  `tfsdk:"calls_since"`
	Since      types.String `tfsdk:"since"`
}

type usageObject struct {
	Type     types.String `tfsdk:"type"`
	Identity types.String `tfsdk:"identity"`
	Effect   types.String `tfsdk:"effect"`
}

type usagePrivilege struct {
	Role      types.String `tfsdk:"role"`
	Privilege types.String `tfsdk:"privilege"`
	Column    types.String `tfsdk:"column"`
}

func attributeTypes(text ...string) map[string]attr.Type {
	all := make(map[string]attr.Type)
	for _, name := range text {
		all[name] = types.StringType
	}
	return all
}

var (
	usageWriterType    = types.ObjectType{AttrTypes: attributeTypes("application_name", "role", "address", "side", "first_seen", "last_seen", "sync")}
	usageObjectType    = types.ObjectType{AttrTypes: attributeTypes("type", "identity", "effect")}
	usagePrivilegeType = types.ObjectType{AttrTypes: attributeTypes("role", "privilege", "column")}
	usageStatementType = types.ObjectType{AttrTypes: map[string]attr.Type{
		"query": types.StringType, "query_id": types.StringType, "role": types.StringType, "certain": types.BoolType,
		"reads": types.ListType{ElemType: types.StringType}, "writes": types.ListType{ElemType: types.StringType},
		"calls": types.Int64Type, "calls_since": types.Int64Type, "since": types.StringType,
	}}
)

// maxQuery is how many characters of a statement are shown.
const maxQuery = 1000

// show writes the report into the model. Every value is known, and every list is there.
func (m *columnUsageModel) show(ctx context.Context, r *usage.Report) (diags diag.Diagnostics) {
	m.Writers = showList(ctx, &diags, usageWriterType, r.Writers, showWriter)
	m.LegacyWriters = showList(ctx, &diags, usageWriterType, r.Legacy(), showWriter)
	m.WatchedSince = showTime(r.WatchedSince)
	m.Statements = showList(ctx, &diags, usageStatementType, r.Statements, func(s usage.Statement) usageStatement {
		return usageStatement{
			Query: types.StringValue(usage.Cut(s.Query, maxQuery)), QueryID: types.StringValue(strconv.FormatInt(s.QueryID, 10)), Role: types.StringValue(s.Role),
			Certain: types.BoolValue(s.Certain), Reads: notNil(s.Reads), Writes: notNil(s.Writes), Calls: types.Int64Value(s.Calls),
			CallsSince: types.Int64PointerValue(s.CallsSince), Since: showTime(r.LastLook),
		}
	})
	m.StatementsSince = showTime(r.CountedSince)
	m.StatementsComplete = types.BoolValue(len(r.Coverage) == 0)
	m.StatementsCoverage = showList(ctx, &diags, types.StringType, r.Coverage, types.StringValue)
	m.Dependants = showList(ctx, &diags, usageObjectType, r.Objects, func(o usage.Object) usageObject {
		return usageObject{types.StringValue(o.Type), types.StringValue(o.Identity), types.StringValue(string(o.Effect))}
	})
	m.Privileges = showList(ctx, &diags, usagePrivilegeType, r.Privileges, func(p usage.Privilege) usagePrivilege {
		shown := usagePrivilege{types.StringValue(p.Role), types.StringValue(p.Privilege), types.StringNull()}
		if p.Column != "" {
			shown.Column = types.StringValue(p.Column)
		}
		return shown
	})
	m.Summary = types.StringValue(r.Summary())
	return diags
}

func showWriter(w ledger.Writer) usageWriter {
	shown := usageWriter{
		ApplicationName: types.StringValue(w.ApplicationName), Role: types.StringValue(w.Role), Side: types.StringValue(w.Side),
		FirstSeen: showTime(&w.FirstSeen), LastSeen: showTime(&w.LastSeen), Sync: types.StringValue(w.Sync),
	}
	if w.Address != nil {
		shown.Address = types.StringValue(w.Address.Addr().String())
	}
	return shown
}

func showList[From, To any](ctx context.Context, diags *diag.Diagnostics, element attr.Type, from []From, show func(From) To) types.List {
	shown := make([]To, len(from))
	for i, one := range from {
		shown[i] = show(one)
	}
	list, more := types.ListValueFrom(ctx, element, shown)
	diags.Append(more...)
	return list
}

func showTime(t *time.Time) types.String {
	if t == nil {
		return types.StringNull()
	}
	return types.StringValue(t.UTC().Format(time.RFC3339))
}

func notNil(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
