package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/action/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

var _ action.ActionWithConfigure = (*backfillAction[struct{}])(nil)

// backfillAction is an action on backfills that the ledger knows. M is its model.
type backfillAction[M any] struct {
	name, description string
	attributes        map[string]schema.Attribute
	invoke            func(ctx context.Context, env *stage.Env, m *M, resp *action.InvokeResponse) error
	client            *client
}

// Metadata names the action.
func (a *backfillAction[M]) Metadata(_ context.Context, _ action.MetadataRequest, resp *action.MetadataResponse) {
	resp.TypeName = typeName + "_backfill_" + a.name
}

// Schema describes the action.
func (a *backfillAction[M]) Schema(_ context.Context, _ action.SchemaRequest, resp *action.SchemaResponse) {
	resp.Schema = schema.Schema{MarkdownDescription: a.description, Attributes: a.attributes}
}

// Configure takes what the provider hands out.
func (a *backfillAction[M]) Configure(_ context.Context, req action.ConfigureRequest, resp *action.ConfigureResponse) {
	if req.ProviderData == nil {
		return // Terraform validates before it configures.
	}
	c, ok := req.ProviderData.(*client)
	if !ok {
		resp.Diagnostics.AddError("Unexpected provider data", fmt.Sprintf("A %T cannot be used by %s_backfill_%s.", req.ProviderData, typeName, a.name))
		return
	}
	a.client = c
}

// Invoke does it.
func (a *backfillAction[M]) Invoke(ctx context.Context, req action.InvokeRequest, resp *action.InvokeResponse) {
	var m M
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	err := errConfigurationUnknown
	if a.client.known {
		err = a.invoke(ctx, a.client.env, &m, resp)
	}
	switch {
	case err == nil:
	case unreachable(err):
		resp.Diagnostics.AddError("The database cannot be reached", fmt.Sprintf("The action %s_backfill_%s needs it: %v.", typeName, a.name, err))
	case errors.Is(err, context.Canceled):
		resp.Diagnostics.AddError(fmt.Sprintf("Action %s_backfill_%s was interrupted", typeName, a.name),
			"What was done is recorded in the database, and nothing is half done.")
	default:
		addErrors(&resp.Diagnostics, err, fmt.Sprintf("Action %s_backfill_%s failed", typeName, a.name))
	}
}

// idAttribute is the identity of the backfill.
func idAttribute(required bool, description string) schema.StringAttribute {
	return schema.StringAttribute{
		Required: required, Optional: !required, MarkdownDescription: description,
		Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
	}
}
