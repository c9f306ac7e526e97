package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/preflight"
)

var _ datasource.DataSourceWithConfigure = (*tablePreflight)(nil)

// tablePreflight is the data source postgres_table_preflight.
type tablePreflight struct{ client *client }

func newTablePreflight() datasource.DataSource { return &tablePreflight{} }

// Metadata names the data source.
func (d *tablePreflight) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = typeName + "_table_preflight"
}

// Configure takes what the provider hands out.
func (d *tablePreflight) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	if req.ProviderData == nil {
		return // Terraform validates before it configures.
	}
	c, ok := req.ProviderData.(*client)
	if !ok {
		resp.Diagnostics.AddError("Unexpected provider data", fmt.Sprintf("A %T cannot be used by %s_table_preflight.", req.ProviderData, typeName))
		return
	}
	d.client = c
}

// Schema describes the data source.
func (d *tablePreflight) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = preflightSchema()
}

// Read looks. Without a database it says that it could not, because a plan may come before the database.
func (d *tablePreflight) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m preflightModel
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("schema"), &m.Schema)...)
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("table"), &m.Table)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if m.Schema == nil {
		public := "public"
		m.Schema = &public
	}
	name := pg.TableName{Schema: *m.Schema, Name: m.Table}
	report, err := (*preflight.Report)(nil), errConfigurationUnknown
	if d.client.known {
		report, err = preflight.Look(ctx, d.client.env, name, preflight.DefaultLimits)
	}
	switch {
	case unreachable(err):
		d.client.warnUnreachable(&resp.Diagnostics, err)
		m.show(&preflight.Report{Unseen: []string{"The database was not asked."}})
		m.Summary = fmt.Sprintf("The state of %s is not known: the database was not asked.", name)
	case errors.Is(err, context.Canceled):
		resp.Diagnostics.AddError(fmt.Sprintf("The look at %s was interrupted", name), "")
	case err != nil:
		addErrors(&resp.Diagnostics, err, fmt.Sprintf("Table %s cannot be looked at", name))
	default:
		m.show(report)
		m.showFacts(report)
	}
	if !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	}
}
