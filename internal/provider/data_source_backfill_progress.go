package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

var _ datasource.DataSourceWithConfigure = (*backfillProgress)(nil)

// backfillProgress is the data source postgres_backfill_progress.
type backfillProgress struct{ client *client }

func newBackfillProgress() datasource.DataSource { return &backfillProgress{} }

// Metadata names the data source.
func (d *backfillProgress) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = typeName + "_backfill_progress"
}

// Configure takes what the provider hands out.
func (d *backfillProgress) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	if req.ProviderData == nil {
		return // Terraform validates before it configures.
	}
	c, ok := req.ProviderData.(*client)
	if !ok {
		resp.Diagnostics.AddError("Unexpected provider data", fmt.Sprintf("A %T cannot be used by %s_backfill_progress.", req.ProviderData, typeName))
		return
	}
	d.client = c
}

// Schema describes the data source.
func (d *backfillProgress) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	text := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	count := func(description string) schema.Int64Attribute {
		return schema.Int64Attribute{Computed: true, MarkdownDescription: description}
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "How far backfills are, who runs them, and why they go no faster. It reads the ledger, so it also shows those of other " +
			"configurations. It changes nothing.",
		Attributes: map[string]schema.Attribute{
			"schema": schema.StringAttribute{
				Optional: true, Computed: true, Validators: identifier,
				MarkdownDescription: "Schema of the tables, exactly as it is written in the catalogs. The default is `public`.",
			},
			"table": schema.StringAttribute{
				Optional: true, Validators: identifier,
				MarkdownDescription: "Name of a table, without quotes, exactly as it is written in the catalogs. Without it, those of all tables of the schema are listed.",
			},
			"id": schema.StringAttribute{
				Optional: true, Validators: []validator.String{stringvalidator.ConflictsWith(path.MatchRoot("schema"), path.MatchRoot("table"))},
				MarkdownDescription: "Identity of one backfill: the `id` of its resource, in place of `schema` and `table`.",
			},
			"backfills": schema.ListNestedAttribute{
				Computed: true, MarkdownDescription: "The backfills, ordered by table and identity. Empty when no apply has begun one.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"id":     text("Its identity."),
					"schema": text("Schema of its table when it began."),
					"table":  text("Name of its table when it began."),
					"status": text("`walk` while rows are filled, `sweep` while it is proven that none is left, `throttled` while batches wait for the server, " +
						"`paused` when an operator asked for it, `interrupted` when no apply runs it, and `complete` after the proof."),
					"running":             schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether an apply runs it, also while it waits."},
					"percent":             schema.Float64Attribute{Computed: true, MarkdownDescription: "Share of the table that is done."},
					"rows_updated":        count("Rows that were filled."),
					"rows_estimated":      count("Rows of the table when it began, as the server estimates them; null when it cannot. Not all of them may need to be filled."),
					"pages_done":          count("Pages of the table that are done."),
					"pages_total":         count("Pages that the table had when it began."),
					"rows_per_second":     count("Rows that are filled in a second at present."),
					"max_rows_per_second": count("What an operator asked for with `set_rate`; null when nobody did."),
					"limited_by":          text("What decides the speed at present; empty when nothing runs."),
					"throttled":           text("Why batches wait, or who paused it; empty when they do not wait."),
					"blockers":            text("Sessions that are in its way; empty when there are none."),
					"hot_percent": schema.Float64Attribute{Computed: true, MarkdownDescription: "Share of the new row versions that stayed in their page, " +
						"so that no index had to be written; null when none was written yet."},
					"holder":           text("The process that runs it, or that ran it last."),
					"note":             text("What it says of the phase that it is in."),
					"elapsed":          text("Time since it began, or that it took, as in `1h2m3s`."),
					"remaining":        text("Estimate of the time that is left, from the present speed, as in `1h2m3s`; null when there is none."),
					"since_checkpoint": text("Time since the last batch was recorded, as in `1h2m3s`; null before the first, and when it is complete."),
					"started_at":       text("When it began (RFC 3339); null in a ledger that an older provider has written."),
					"completed_at":     text("When it was complete (RFC 3339)."),
				}},
			},
			"all_complete": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether all backfills in the list are complete, for a `check`. An `id` that " +
				"nobody has begun is not complete, and nothing is while the database cannot be asked."},
			"summary": text("All of it in a line for each backfill, for the `error_message` of a `check`."),
		},
	}
}

// Read looks. Without a database it says that it could not, because a plan may come before the database.
func (d *backfillProgress) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m backfillProgressModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	wanted, err := m.filter()
	if err != nil {
		resp.Diagnostics.AddAttributeError(path.Root("id"), fmt.Sprintf("%q is not the identity of a backfill", m.ID.ValueString()), finding.Capitalize(err.Error())+".")
		return
	}
	all, err := []ledger.Progress(nil), errConfigurationUnknown
	if d.client.known {
		err = d.client.env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
			all, err = d.client.env.Ledger.AllProgress(ctx, tx)
			return err
		})
	}
	asked := true
	switch {
	case err == nil, errors.Is(err, ledger.ErrNoLedger):
	case unreachable(err):
		d.client.warnUnreachable(&resp.Diagnostics, err)
		asked = false
	case errors.Is(err, context.Canceled):
		resp.Diagnostics.AddError("The look for the progress of backfills was interrupted", "")
	default:
		addErrors(&resp.Diagnostics, err, "Progress of backfills cannot be read")
	}
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(m.show(ctx, all, wanted, asked)...)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

// filter returns which backfills are asked for, and sets the schema to what it stands for.
func (m *backfillProgressModel) filter() (func(p ledger.Progress) bool, error) {
	if m.ID.IsNull() {
		m.Schema = types.StringValue(or(m.Schema, "public"))
		return func(p ledger.Progress) bool {
			return p.Schema == m.Schema.ValueString() && (m.Table.IsNull() || p.Name == m.Table.ValueString())
		}, nil
	}
	table, columns, err := pg.ParseID(m.ID.ValueString())
	if err != nil {
		return nil, err
	}
	m.Schema = types.StringValue(table.Schema)
	key := pg.FormatID(table, columns) // The identity may have been written with quotes that it does not need.
	return func(p ledger.Progress) bool { return p.Backfill == key }, nil
}
