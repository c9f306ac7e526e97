package provider

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// revertTimeout is the default for delete.
const revertTimeout = time.Hour

// stageResource is the one implementation of all stage resources.
type stageResource[M any, PM interface {
	*M
	model
}, S stage.Stage[O], O any] struct {
	definition[M, S, O]
	client *client
}

// Metadata names the resource type.
func (r *stageResource[M, PM, S, O]) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = typeName + "_" + r.name
}

// Schema describes the resource.
func (r *stageResource[M, PM, S, O]) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = r.schema(ctx)
}

// ValidateConfig checks the configuration offline.
func (r *stageResource[M, PM, S, O]) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	if r.validate == nil {
		return
	}
	var m M
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(r.validate(&m)...)
	}
}

// Configure takes what the provider hands out.
func (r *stageResource[M, PM, S, O]) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	if req.ProviderData == nil {
		return // Terraform validates before it configures.
	}
	c, ok := req.ProviderData.(*client)
	if !ok {
		resp.Diagnostics.AddError("Unexpected provider data", fmt.Sprintf("A %T cannot be used by %s_%s.", req.ProviderData, typeName, r.name))
		return
	}
	r.client = c
}

// Create applies the stage. An error must not come with state: Terraform would taint the resource, and a tainted column
// is dropped. The ledger has what was done, and the next Create goes on from there.
func (r *stageResource[M, PM, S, O]) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var m M
	resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	observed, err := r.apply(ctx, &m, nil, PM(&m).common().Timeouts.Create, "create", &resp.Diagnostics)
	switch {
	case resp.Diagnostics.HasError():
	case errors.Is(err, context.Canceled) && r.begun(observed):
		// Success with partial state is saved untainted; the next plan is an update that goes on.
		resp.Diagnostics.Append(r.show(ctx, &m, observed)...)
		resp.Diagnostics.AddWarning(r.title(ctx, &m)+" was interrupted", "What was done is recorded in the database. Apply again to go on.")
		resp.Diagnostics.Append(r.save(ctx, &m, &resp.State, resp.Identity)...)
	case err != nil:
		r.addApplyError(ctx, &m, err, "create", &resp.Diagnostics)
	default:
		resp.Diagnostics.Append(r.show(ctx, &m, observed)...)
		resp.Diagnostics.Append(r.save(ctx, &m, &resp.State, resp.Identity)...)
		r.addApplied(ctx, &m, observed, &resp.Diagnostics)
	}
}

// Update applies the changed stage, or goes on with an interrupted one. An error may come with partial state, which
// never taints.
func (r *stageResource[M, PM, S, O]) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var m, prior M
	resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &prior)...)
	if resp.Diagnostics.HasError() {
		return
	}
	observed, err := r.apply(ctx, &m, &prior, PM(&m).common().Timeouts.Update, "update", &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	if err == nil || r.begun(observed) {
		resp.Diagnostics.Append(r.show(ctx, &m, observed)...)
		resp.Diagnostics.Append(r.save(ctx, &m, &resp.State, resp.Identity)...)
	}
	if err != nil {
		r.addApplyError(ctx, &m, err, "update", &resp.Diagnostics)
		return
	}
	r.addApplied(ctx, &m, observed, &resp.Diagnostics)
}

// addApplied adds what is to be said of an apply that succeeded.
func (r *stageResource[M, PM, S, O]) addApplied(ctx context.Context, m *M, observed O, diags *diag.Diagnostics) {
	if r.applied == nil || diags.HasError() {
		return
	}
	spec, more := r.spec(ctx, r.client.env, m, nil)
	diags.Append(more...)
	if !more.HasError() {
		addWarnings(diags, r.applied(ctx, r.client.env, spec, observed))
	}
}

type timeoutFunc func(context.Context, time.Duration) (time.Duration, diag.Diagnostics)

func (r *stageResource[M, PM, S, O]) apply(ctx context.Context, m, prior *M, timeout timeoutFunc, operation string, diags *diag.Diagnostics) (observed O, err error) {
	spec, more := r.spec(ctx, r.client.env, m, prior)
	diags.Append(more...)
	limit, more := timeout(ctx, r.applyTimeout)
	diags.Append(more...)
	if diags.HasError() {
		return observed, nil
	}
	if !r.client.known {
		return observed, errConfigurationUnknown
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &timeoutError{operation: operation, after: limit})
	defer cancel()
	if prior != nil && sameButTimeouts[M, PM](*m, *prior) {
		recorded, err := spec.Read(ctx, r.client.env)
		if err != nil {
			return observed, err
		}
		if recorded != nil {
			return *recorded, nil
		}
	}
	if r.retune != nil && r.isSettled(ctx, *m, prior, spec) {
		recorded, err := r.retune(ctx, r.client.env, spec)
		if err != nil {
			return observed, err
		}
		if recorded != nil {
			return *recorded, nil
		}
	}
	err = r.client.env.Insist(ctx, PM(m).common().tableName(), func() (err error) {
		observed, err = spec.Apply(ctx, r.client.env)
		return err
	})
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return observed, err
}

// sameButTimeouts reports whether an update changes nothing but how long things may take, which is nothing to the database. A
// stage that a contract has retired can have that as well, and could not be applied.
func sameButTimeouts[M any, PM interface {
	*M
	model
}](planned, prior M) bool {
	PM(&planned).common().Timeouts = PM(&prior).common().Timeouts
	return reflect.DeepEqual(planned, prior)
}

// isSettled reports whether an update changes nothing of what the stage does, and an earlier apply has left nothing to do.
func (r *stageResource[M, PM, S, O]) isSettled(ctx context.Context, planned M, prior *M, spec S) bool {
	if prior == nil {
		return false
	}
	was, diags := r.spec(ctx, r.client.env, prior, prior)
	if diags.HasError() || !r.sameSpec(was, spec) {
		return false
	}
	pending, diags := r.plan(&planned, prior, false)
	return !pending && !diags.HasError()
}

// timeoutError says that the time given in the timeouts attribute was not enough.
type timeoutError struct {
	operation string
	after     time.Duration
}

func (e *timeoutError) Error() string { return "not done within " + finding.Duration(e.after) }

func (r *stageResource[M, PM, S, O]) addApplyError(ctx context.Context, m *M, err error, operation string, diags *diag.Diagnostics) {
	title := r.title(ctx, m)
	var timeout *timeoutError
	var explained *finding.Finding
	switch {
	case errors.As(err, &timeout):
		diags.AddError(title+" was "+timeout.Error(),
			fmt.Sprintf("What was done is recorded in the database. Apply again to go on, or allow more time:\n\n  timeouts = { %s = \"...\" }", operation))
	case errors.Is(err, context.Canceled):
		diags.AddError(title+" was interrupted", "What was done is recorded in the database, and nothing is half done. Apply again to go on.")
	case pg.IsUnreachable(err):
		diags.AddError("The database cannot be reached", fmt.Sprintf("%s needs it: %v.", title, err))
	case pg.IsConnectionLost(err) && !errors.As(err, &explained):
		diags.AddError(title+" lost its session", fmt.Sprintf("The server ended it, or the connection broke: %v.\n\nWhat was done is recorded in the "+
			"database, and nothing is half done. Apply again to go on.", err))
	default:
		addErrors(diags, err, title+" failed")
	}
}

func (r *stageResource[M, PM, S, O]) title(ctx context.Context, m *M) string {
	spec, _ := r.spec(ctx, r.client.env, m, nil) // It was read before without an error.
	return r.describe(spec)
}

// Read refreshes the state from the database. Without a database the state stays as it is.
func (r *stageResource[M, PM, S, O]) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var m M
	resp.Diagnostics.Append(req.State.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(setIdentity[M, PM](ctx, &m, resp.Identity)...)
	if !r.client.known {
		r.client.warnUnreachable(&resp.Diagnostics, errConfigurationUnknown)
		return
	}
	found, err := r.refresh(ctx, &m, &resp.Diagnostics)
	switch {
	case resp.Diagnostics.HasError():
	case unreachable(err):
		r.client.warnUnreachable(&resp.Diagnostics, err)
	case err != nil:
		addErrors(&resp.Diagnostics, err, r.title(ctx, &m)+" cannot be read")
	case !found:
		resp.State.RemoveResource(ctx)
	default:
		resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	}
}

// refresh writes what is observed of the stage into its model. It reports whether the stage is there.
func (r *stageResource[M, PM, S, O]) refresh(ctx context.Context, m *M, diags *diag.Diagnostics) (found bool, err error) {
	spec, more := r.spec(ctx, r.client.env, m, m)
	diags.Append(more...)
	if diags.HasError() {
		return false, nil
	}
	observed, err := spec.Read(ctx, r.client.env)
	if err != nil || observed == nil {
		return false, r.client.env.ExplainLock(ctx, PM(m).common().tableName(), err)
	}
	diags.Append(r.show(ctx, m, *observed)...)
	if PM(m).common().Statements.IsNull() { // It was just imported.
		if spec, more = r.spec(ctx, r.client.env, m, nil); !more.HasError() {
			more = PM(m).common().showPreview(spec)
		}
		diags.Append(more...)
	}
	return true, nil
}

// Delete undoes the stage.
func (r *stageResource[M, PM, S, O]) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var m M
	resp.Diagnostics.Append(req.State.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	spec, diags := r.spec(ctx, r.client.env, &m, &m)
	resp.Diagnostics.Append(diags...)
	limit, diags := PM(&m).common().Timeouts.Delete(ctx, revertTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	if !r.client.known {
		r.addApplyError(ctx, &m, errConfigurationUnknown, "delete", &resp.Diagnostics)
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &timeoutError{operation: "delete", after: limit})
	defer cancel()
	var warnings []*finding.Finding
	err := r.client.env.Insist(ctx, PM(&m).common().tableName(), func() (err error) {
		warnings, err = spec.Revert(ctx, r.client.env)
		return err
	})
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	addWarnings(&resp.Diagnostics, warnings)
	if err != nil {
		r.addApplyError(ctx, &m, err, "delete", &resp.Diagnostics)
	}
}
