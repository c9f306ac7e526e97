// Package provider is the Terraform side of the stages: schemas, models and diagnostics. What a stage means and does is
// in the packages under internal/stage.
package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/list"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/resource"
)

// Address is the provider's address in the Terraform registry. A publisher of a fork changes it here.
const Address = "registry.terraform.io/stagedpg/postgres"

// typeName is the prefix of all resource types.
const typeName = "postgres"

var (
	_ provider.ProviderWithActions       = (*postgresProvider)(nil)
	_ provider.ProviderWithFunctions     = (*postgresProvider)(nil)
	_ provider.ProviderWithListResources = (*postgresProvider)(nil)
)

type postgresProvider struct {
	version string
}

// New returns the provider's constructor.
func New(version string) func() provider.Provider {
	return func() provider.Provider { return &postgresProvider{version: version} }
}

// Metadata names the provider.
func (p *postgresProvider) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName, resp.Version = typeName, p.version
}

// Schema describes the provider block.
func (p *postgresProvider) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = providerSchema()
}

// Configure hands the resources what they work with. It does not connect.
func (p *postgresProvider) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var model providerModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &model)...)
	if resp.Diagnostics.HasError() {
		return
	}
	c, diags := newClient(ctx, p.version, model, req.Config.Raw.IsFullyKnown())
	resp.Diagnostics.Append(diags...)
	resp.ResourceData, resp.DataSourceData, resp.ActionData, resp.ListResourceData = c, c, c, c
}

// Resources returns the stages.
func (p *postgresProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{newColumnExpand, newColumnSync, newBatchedBackfill, newColumnContract}
}

// ListResources returns the stages once more: each can say which of its kind the ledger knows. Terraform has them since 1.14.
func (p *postgresProvider) ListResources(ctx context.Context) []func() list.ListResource {
	var all []func() list.ListResource
	for _, newResource := range p.Resources(ctx) {
		newList := func() list.ListResource { l, _ := newResource().(list.ListResource); return l }
		if newList() != nil {
			all = append(all, newList)
		}
	}
	return all
}

// DataSources returns what can be asked about live tables.
func (p *postgresProvider) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{newColumnUsage, newBackfillProgress, newTablePreflight}
}

// Actions returns what can be done with backfills besides applying them. Terraform has actions since 1.14.
func (p *postgresProvider) Actions(context.Context) []func() action.Action {
	return []func() action.Action{newBackfillRun, newBackfillPause, newBackfillResume, newBackfillVerify}
}

// Functions returns what helps to write SQL in a configuration.
func (p *postgresProvider) Functions(context.Context) []func() function.Function {
	return []func() function.Function{newQuoteIdentifier, newQuoteLiteral}
}
