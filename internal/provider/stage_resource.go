package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// model is the Terraform side of a stage.
type model interface{ common() *commonModel }

// definition says how one stage appears in Terraform. M is its model, S the stage, O what can be observed of it.
type definition[M any, S stage.Stage[O], O any] struct {
	// name is the resource type without the provider's prefix.
	name   string
	schema func(ctx context.Context) schema.Schema
	// known reports whether the plan says all that the stage depends on.
	known func(m *M) bool
	// spec returns the stage that the model describes. prior is the model in the state, or nil. The ID may be empty.
	spec func(ctx context.Context, m, prior *M) (S, diag.Diagnostics)
	// identify returns the identity of a new stage.
	identify func(spec S) string
	// sameSpec reports whether two stages are the same, so that there is nothing to check or do.
	sameSpec func(a, b S) bool
	// plan sets the computed attributes of a planned model. It reports whether work is left from an earlier apply.
	plan func(m, prior *M, changed bool) (pending bool, diags diag.Diagnostics)
	// show writes what was observed into the model.
	show func(ctx context.Context, m *M, observed O) diag.Diagnostics
	// begun reports whether an Apply that failed has left something behind that the state must hold.
	begun func(observed O) bool
	// imported returns the attributes of an import that follow from the columns in its identifier. Read finds the rest.
	imported func(ctx context.Context, columns []string) (map[string]attr.Value, diag.Diagnostics)
	// describe names the stage at the start of a sentence.
	describe func(spec S) string
	// applyTimeout is the default for create and update. Interrupted work is never lost.
	applyTimeout time.Duration
}

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
	if !r.known(planned) {
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
	switch {
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
	spec, more := r.spec(ctx, planned, prior)
	diags.Append(more...)
	if diags.HasError() {
		return spec, false
	}
	if prior == nil {
		common.ID = types.StringValue(r.identify(spec))
		spec, more = r.spec(ctx, planned, prior)
		diags.Append(more...)
		changed = true
	} else {
		was, more := r.spec(ctx, prior, prior)
		diags.Append(more...)
		changed = !r.sameSpec(was, spec)
	}
	// An unchanged stage keeps what it ran; the statements of a change follow from the configuration and the prior state.
	if changed || common.Statements.IsUnknown() || common.Statements.IsNull() {
		common.Statements, more = showStatements(spec.Preview())
		diags.Append(more...)
		if prior != nil && !changed && !PM(prior).common().Statements.IsNull() {
			common.Statements = PM(prior).common().Statements
		}
	}
	return spec, changed
}

func (r *stageResource[M, PM, S, O]) check(ctx context.Context, spec S) ([]*finding.Finding, error) {
	if !r.client.known {
		return nil, errConfigurationUnknown
	}
	return spec.Check(ctx, r.client.env)
}

// planRevert warns what a destroy will do.
func (r *stageResource[M, PM, S, O]) planRevert(ctx context.Context, prior *M, diags *diag.Diagnostics) {
	spec, more := r.spec(ctx, prior, prior)
	diags.Append(more...)
	if diags.HasError() {
		return
	}
	if !r.client.known {
		r.client.warnUnreachable(diags, errConfigurationUnknown)
		return
	}
	warning, err := spec.CheckRevert(ctx, r.client.env)
	if unreachable(err) {
		r.client.warnUnreachable(diags, err)
		return
	}
	addErrors(diags, err, r.describe(spec)+" cannot be destroyed")
	addWarnings(diags, []*finding.Finding{warning})
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
		resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	case err != nil:
		r.addApplyError(ctx, &m, err, "create", &resp.Diagnostics)
	default:
		resp.Diagnostics.Append(r.show(ctx, &m, observed)...)
		resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
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
		resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	}
	if err != nil {
		r.addApplyError(ctx, &m, err, "update", &resp.Diagnostics)
	}
}

type timeoutFunc func(context.Context, time.Duration) (time.Duration, diag.Diagnostics)

func (r *stageResource[M, PM, S, O]) apply(ctx context.Context, m, prior *M, timeout timeoutFunc, operation string, diags *diag.Diagnostics) (observed O, err error) {
	spec, more := r.spec(ctx, m, prior)
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
	observed, err = spec.Apply(ctx, r.client.env)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return observed, err
}

// timeoutError says that the time given in the timeouts attribute was not enough.
type timeoutError struct {
	operation string
	after     time.Duration
}

func (e *timeoutError) Error() string { return fmt.Sprintf("not done within %s", e.after) }

func (r *stageResource[M, PM, S, O]) addApplyError(ctx context.Context, m *M, err error, operation string, diags *diag.Diagnostics) {
	title := r.title(ctx, m)
	var timeout *timeoutError
	switch {
	case errors.As(err, &timeout):
		diags.AddError(fmt.Sprintf("%s was not done within %s", title, timeout.after),
			fmt.Sprintf("What was done is recorded in the database. Apply again to go on, or allow more time:\n\n  timeouts = { %s = \"...\" }", operation))
	case errors.Is(err, context.Canceled):
		diags.AddError(title+" was interrupted", "What was done is recorded in the database, and nothing is half done. Apply again to go on.")
	case pg.IsUnreachable(err):
		diags.AddError("The database cannot be reached", fmt.Sprintf("%s needs it: %v.", title, err))
	default:
		addErrors(diags, err, title+" failed")
	}
}

func (r *stageResource[M, PM, S, O]) title(ctx context.Context, m *M) string {
	spec, _ := r.spec(ctx, m, nil) // It was read before without an error.
	return r.describe(spec)
}

// Read refreshes the state from the database. Without a database the state stays as it is.
func (r *stageResource[M, PM, S, O]) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var m M
	resp.Diagnostics.Append(req.State.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if !r.client.known {
		r.client.warnUnreachable(&resp.Diagnostics, errConfigurationUnknown)
		return
	}
	spec, diags := r.spec(ctx, &m, &m)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	observed, err := spec.Read(ctx, r.client.env)
	switch {
	case unreachable(err):
		r.client.warnUnreachable(&resp.Diagnostics, err)
	case err != nil:
		addErrors(&resp.Diagnostics, err, r.describe(spec)+" cannot be read")
	case observed == nil:
		resp.State.RemoveResource(ctx)
	default:
		resp.Diagnostics.Append(r.show(ctx, &m, *observed)...)
		if PM(&m).common().Statements.IsNull() { // It was just imported.
			if spec, diags = r.spec(ctx, &m, nil); !diags.HasError() {
				PM(&m).common().Statements, diags = showStatements(spec.Preview())
			}
			resp.Diagnostics.Append(diags...)
		}
		resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	}
}

// Delete undoes the stage.
func (r *stageResource[M, PM, S, O]) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var m M
	resp.Diagnostics.Append(req.State.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	spec, diags := r.spec(ctx, &m, &m)
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
	warnings, err := spec.Revert(ctx, r.client.env)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	addWarnings(&resp.Diagnostics, warnings)
	if err != nil {
		r.addApplyError(ctx, &m, err, "delete", &resp.Diagnostics)
	}
}

// ImportState reads an identifier such as public.users/first_name,last_name.
func (r *stageResource[M, PM, S, O]) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	table, columns, err := pg.ParseID(req.ID)
	if err != nil {
		resp.Diagnostics.AddError("Import identifier is malformed", capitalize(err.Error())+". Names with other characters than lower-case letters, "+
			"digits and underscores need double quotes.")
		return
	}
	attributes, diags := r.imported(ctx, columns)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	attributes["id"] = types.StringValue(pg.FormatID(table, slices.Sorted(slices.Values(columns))))
	attributes["schema"], attributes["table"] = types.StringValue(table.Schema), types.StringValue(table.Name)
	for _, name := range stage.SortedKeys(attributes) {
		resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root(name), attributes[name])...)
	}
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
