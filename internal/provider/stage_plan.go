package provider

import (
	"context"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// ModifyPlan previews the statements, and checks the plan against the live table where something is to be done.
func (r *stageResource[M, PM, S, O]) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.client == nil {
		return
	}
	prior, diags := get[M](ctx, req.State.Raw.IsNull(), req.State.Get)
	resp.Diagnostics.Append(diags...)
	planned, diags := get[M](ctx, req.Plan.Raw.IsNull(), req.Plan.Get)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	if planned == nil {
		r.planRevert(ctx, prior, &resp.Diagnostics)
		return
	}
	if !r.known(planned) || r.client.env.Ledger.Schema == "" {
		return
	}
	spec, changed := r.planSpec(ctx, planned, prior, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	pending, diags := r.plan(planned, prior, changed)
	resp.Diagnostics.Append(diags...)
	resp.Diagnostics.Append(resp.Plan.Set(ctx, planned)...)
	if resp.Diagnostics.HasError() || (!changed && !pending) {
		return
	}
	warnings, err := r.check(ctx, spec)
	switch err = r.client.env.ExplainLock(ctx, PM(planned).common().tableName(), err); {
	case unreachable(err):
		r.client.warnUnreachable(&resp.Diagnostics, err)
	default:
		addErrors(&resp.Diagnostics, err, r.describe(spec)+" cannot be checked")
		addWarnings(&resp.Diagnostics, warnings)
	}
}

// planSpec fills in what follows from the configuration, and reports whether the stage changes.
func (r *stageResource[M, PM, S, O]) planSpec(ctx context.Context, planned, prior *M, diags *diag.Diagnostics) (spec S, changed bool) {
	common := PM(planned).common()
	spec, more := r.spec(ctx, r.client.env, planned, prior)
	diags.Append(more...)
	if diags.HasError() {
		return spec, false
	}
	if prior == nil {
		common.ID = types.StringValue(r.identify(spec))
		spec, more = r.spec(ctx, r.client.env, planned, prior)
		diags.Append(more...)
		diags.Append(common.showPreview(spec)...)
		return spec, true
	}
	was, more := r.spec(ctx, r.client.env, prior, prior)
	diags.Append(more...)
	changed = !r.sameSpec(was, spec)
	// The statements of a change follow from the configuration and the prior state. An unchanged stage keeps what it ran, and
	// its hazards, unless what has changed beside is one.
	diags.Append(common.showPreview(spec)...)
	if before := PM(prior).common(); !changed && !before.Statements.IsNull() {
		common.Statements = before.Statements
		if slices.Equal(was.Hazards(), spec.Hazards()) {
			common.Hazards = before.Hazards
		}
	}
	return spec, changed
}

func (r *stageResource[M, PM, S, O]) check(ctx context.Context, spec S) ([]*finding.Finding, error) {
	if !r.client.known {
		return nil, errConfigurationUnknown
	}
	warnings, err := spec.Check(ctx, r.client.env)
	if stage.IsOvertaken(err) {
		warnings, err = spec.Check(ctx, r.client.env)
	}
	return warnings, err
}

// planRevert warns what a destroy will do.
func (r *stageResource[M, PM, S, O]) planRevert(ctx context.Context, prior *M, diags *diag.Diagnostics) {
	spec, more := r.spec(ctx, r.client.env, prior, prior)
	diags.Append(more...)
	if diags.HasError() {
		return
	}
	if !r.client.known {
		r.client.warnUnreachable(diags, errConfigurationUnknown)
		return
	}
	warning, err := spec.CheckRevert(ctx, r.client.env)
	err = r.client.env.ExplainLock(ctx, PM(prior).common().tableName(), err)
	if unreachable(err) {
		r.client.warnUnreachable(diags, err)
		return
	}
	addErrors(diags, err, r.describe(spec)+" cannot be destroyed")
	addWarnings(diags, []*finding.Finding{warning})
}

// get reads a model, or returns nil when there is none.
func get[M any](ctx context.Context, isNull bool, read func(context.Context, any) diag.Diagnostics) (*M, diag.Diagnostics) {
	if isNull {
		return nil, nil
	}
	var m M
	diags := read(ctx, &m)
	return &m, diags
}
