package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/expand"
)

// ImportState reads an identifier such as public.users/first_name,last_name, and takes over what the ledger has of it. Unlike
// Read it does need the database: a state without what only the ledger knows would make the next plan change the stage.
func (r *stageResource[M, PM, S, O]) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	id := req.ID
	if id == "" { // It came from the identity of an import block.
		var identity identityModel
		resp.Diagnostics.Append(req.Identity.Get(ctx, &identity)...)
		id = identity.ID.ValueString()
	}
	table, columns, err := pg.ParseID(id)
	if err != nil {
		resp.Diagnostics.AddError("Import identifier is malformed", finding.Capitalize(err.Error())+". Names with other characters than lower-case letters, "+
			"digits and underscores need double quotes.")
		return
	}
	slices.Sort(columns)
	columns = slices.Compact(columns)
	record, err := r.importable(ctx, pg.FormatID(table, columns))
	if err != nil {
		r.addLedgerError(&resp.Diagnostics, err, fmt.Sprintf("Import of %s needs it", id))
		return
	}
	m, diags := r.adopt(ctx, &resp.State, table, columns, record)
	resp.Diagnostics.Append(diags...)
	if !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(r.save(ctx, m, &resp.State, resp.Identity)...)
	}
}

// importable returns the record of a stage that is to be imported. Columns need none: whoever has added them, Read finds what
// there is to know.
func (r *stageResource[M, PM, S, O]) importable(ctx context.Context, key string) (*ledger.Stage, error) {
	records, err := r.records(ctx)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, record := range records {
		if record.Key == key {
			return record, nil
		}
		keys = append(keys, "  - "+record.Key)
	}
	if r.kind() == ledger.ColumnExpand {
		return nil, nil
	}
	known := "It knows none of this type."
	if len(keys) > 0 {
		known = "Of this type it knows:\n\n" + strings.Join(keys, "\n")
	}
	return nil, finding.New(fmt.Sprintf("The ledger knows no %s_%s %s", typeName, r.name, key),
		fmt.Sprintf("Only what an apply has recorded in schema %s can be imported, and not what was destroyed since. %s", r.client.env.Ledger.Schema, known))
}

// kind is what the ledger calls the stages.
func (r *stageResource[M, PM, S, O]) kind() ledger.Kind { return ledger.Kind(r.name) }

// records returns what the ledger has of these stages, without those that were destroyed.
func (r *stageResource[M, PM, S, O]) records(ctx context.Context) (records []*ledger.Stage, err error) {
	if !r.client.known {
		return nil, errConfigurationUnknown
	}
	err = r.client.env.DB.Look(ctx, func(tx pgx.Tx) error {
		exists, err := r.client.env.Ledger.Exists(ctx, tx)
		if err != nil || !exists {
			return err
		}
		records, err = r.client.env.Ledger.StagesOfKind(ctx, tx, r.kind())
		return err
	})
	return slices.DeleteFunc(records, func(s *ledger.Stage) bool { return s.Status == ledger.Forgotten }), err
}

// addLedgerError adds the error of a look into the ledger, which has to be there for what is said to need it.
func (r *stageResource[M, PM, S, O]) addLedgerError(diags *diag.Diagnostics, err error, needs string) {
	if unreachable(err) {
		diags.AddError("The database cannot be reached", fmt.Sprintf("%s: %v.", needs, err))
		return
	}
	addErrors(diags, err, fmt.Sprintf("The ledger in schema %s cannot be read", r.client.env.Ledger.Schema))
}

// adopter is a model that takes attributes from the record of its stage which Read does not find.
type adopter interface {
	adopt(ctx context.Context, recorded json.RawMessage) diag.Diagnostics
}

// attributes is a state, or the resource of a list's result.
type attributes interface {
	SetAttribute(ctx context.Context, path path.Path, value any) diag.Diagnostics
	Get(ctx context.Context, target any) diag.Diagnostics
}

// adopt returns the model of a stage that no state has: what follows from its identity and its record, which may be nil. Read
// finds the rest. It writes into empty, which gives what is left out its type.
func (r *stageResource[M, PM, S, O]) adopt(
	ctx context.Context, empty attributes, table pg.TableName, columns []string, record *ledger.Stage,
) (*M, diag.Diagnostics) {
	values, diags := r.imported(ctx, columns)
	if diags.HasError() {
		return nil, diags
	}
	values["id"] = types.StringValue(pg.FormatID(table, columns))
	values["schema"], values["table"] = types.StringValue(table.Schema), types.StringValue(table.Name)
	for _, name := range stage.SortedKeys(values) {
		diags.Append(empty.SetAttribute(ctx, path.Root(name), values[name])...)
	}
	var m M
	diags.Append(empty.Get(ctx, &m)...)
	if a, ok := any(PM(&m)).(adopter); ok && record != nil && !diags.HasError() {
		diags.Append(a.adopt(ctx, record.Spec)...)
	}
	return &m, diags
}

// adopt takes the columns as the user has written them, with those that came later. Read cannot see them once a contract has
// retired the stage.
func (m *expandModel) adopt(ctx context.Context, recorded json.RawMessage) (diags diag.Diagnostics) {
	spec, err := stage.Decode[expand.Spec](recorded)
	if err != nil {
		addErrors(&diags, err, "The record of the expand cannot be read")
		return diags
	}
	m.ForceDestroy = types.BoolValue(spec.ForceDestroy)
	diags.Append(showExpand(ctx, m, expand.State{Columns: spec.Columns})...)
	return diags
}

// adopt takes what the backfill does to the table's triggers. How fast it may go is left to the configuration.
func (m *backfillModel) adopt(_ context.Context, recorded json.RawMessage) (diags diag.Diagnostics) {
	spec, err := stage.Decode[backfill.Spec](recorded)
	if err != nil {
		addErrors(&diags, err, "The record of the backfill cannot be read")
		return diags
	}
	if spec.QuietTriggers {
		m.FireTriggers = types.BoolValue(false)
	}
	return diags
}

// adopt takes what the user has said when the columns were taken away, so that the configuration of then changes nothing.
func (m *contractModel) adopt(ctx context.Context, recorded json.RawMessage) (diags diag.Diagnostics) {
	spec, err := stage.Decode[contract.Spec](recorded)
	if err != nil {
		addErrors(&diags, err, "The record of the contract cannot be read")
		return diags
	}
	m.WritersMigrated = types.BoolValue(spec.WritersMigrated)
	m.QuietFor = timetypes.NewGoDurationValueFromStringMust(showThreshold(&spec.QuietFor))
	for into, names := range map[*types.Set][]string{&m.Drops: spec.Drops, &m.IgnoreFunctions: spec.IgnoreFunctions, &m.Ignore: spec.Ignore} {
		if len(names) > 0 {
			value, more := types.SetValueFrom(ctx, types.StringType, names)
			*into = value
			diags.Append(more...)
		}
	}
	return diags
}
