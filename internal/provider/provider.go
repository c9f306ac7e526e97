// Package provider is the Terraform side of the stages: schemas, models and diagnostics. What a stage means and does is
// in the packages under internal/stage.
package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/resource"
)

// Address is the provider's address in the Terraform registry. A publisher of a fork changes it here.
const Address = "registry.terraform.io/stagedpg/postgres"

// typeName is the prefix of all resource types.
const typeName = "postgres"

var _ provider.ProviderWithActions = (*postgresProvider)(nil)

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
	resp.ResourceData, resp.DataSourceData, resp.ActionData = c, c, c
}

// Resources returns the stages.
func (p *postgresProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{newColumnExpand, newColumnSync, newBatchedBackfill, newColumnContract}
}

// DataSources returns what can be asked about live tables.
func (p *postgresProvider) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{newColumnUsage, newBackfillProgress}
}

// Actions returns what can be done with backfills besides applying them. Terraform has actions since 1.14.
func (p *postgresProvider) Actions(context.Context) []func() action.Action {
	return []func() action.Action{newBackfillRun, newBackfillPause, newBackfillResume, newBackfillVerify}
}
