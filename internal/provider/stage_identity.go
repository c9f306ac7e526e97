package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/list"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// identityModel is what Terraform keeps beside the state to know a stage by. The name of the database is no part of it: a
// copy that was restored under another name is the same to the ledger that was restored with it.
type identityModel struct {
	ID types.String `tfsdk:"id"`
}

var (
	_ resource.ResourceWithIdentity  = (*stageResource[syncModel, *syncModel, *dualwrite.Spec, dualwrite.State])(nil)
	_ list.ListResourceWithConfigure = (*stageResource[syncModel, *syncModel, *dualwrite.Spec, dualwrite.State])(nil)
)

// IdentitySchema describes the identity. It is the ledger's, so it stays when columns are added or removed later.
func (r *stageResource[M, PM, S, O]) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		"id": identityschema.StringAttribute{
			RequiredForImport: true,
			Description: "Identity of the stage in the ledger, as in the `id` of the resource: the table with its schema, a slash, and the columns in order, " +
				"separated by commas. Names need double quotes where SQL would need them.",
		},
	}}
}

// setIdentity writes the identity. It has to be set each time: a Terraform before 1.12 keeps none, and the framework takes one that
// is missing after Create, Read or Update for an error (internal/fwserver), also when Read has removed the resource.
func setIdentity[M any, PM interface {
	*M
	model
}](ctx context.Context, m *M, identity *tfsdk.ResourceIdentity) diag.Diagnostics {
	return identity.Set(ctx, identityModel{ID: PM(m).common().ID})
}

// save writes the state and the identity.
func (r *stageResource[M, PM, S, O]) save(ctx context.Context, m *M, state *tfsdk.State, identity *tfsdk.ResourceIdentity) diag.Diagnostics {
	diags := state.Set(ctx, m)
	diags.Append(setIdentity[M, PM](ctx, m, identity)...)
	return diags
}
