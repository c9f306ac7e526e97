package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

var _ datasource.DataSourceWithConfigure = (*columnUsage)(nil)

// columnUsage is the data source postgres_column_usage.
type columnUsage struct{ client *client }

func newColumnUsage() datasource.DataSource { return &columnUsage{} }

// Metadata names the data source.
func (d *columnUsage) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = typeName + "_column_usage"
}

// Configure takes what the provider hands out.
func (d *columnUsage) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	if req.ProviderData == nil {
		return // Terraform validates before it configures.
	}
	c, ok := req.ProviderData.(*client)
	if !ok {
		resp.Diagnostics.AddError("Unexpected provider data", fmt.Sprintf("A %T cannot be used by %s_column_usage.", req.ProviderData, typeName))
		return
	}
	d.client = c
}

// Schema describes the data source.
func (d *columnUsage) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	text := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	list := func(description string, attributes map[string]schema.Attribute) schema.ListNestedAttribute {
		return schema.ListNestedAttribute{
			Computed: true, MarkdownDescription: description, NestedObject: schema.NestedAttributeObject{Attributes: attributes},
		}
	}
	strings := func(description string) schema.ListAttribute {
		return schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: description}
	}
	writer := map[string]schema.Attribute{
		"application_name": text("What the session calls itself."),
		"role":             text("Role in whose name it wrote."),
		"address":          text("Where it came from; null for a connection over a Unix-domain socket."),
		"side":             text("`old` or `new`: the side of the sync that it wrote without the other."),
		"first_seen":       text("When it was first noted (RFC 3339)."),
		"last_seen":        text("When it was last noted, at most once a minute for each session (RFC 3339)."),
		"sync":             text("Identity of the sync whose trigger noted it."),
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "Who still reads or writes columns of a table: services that the trigger of a `postgres_column_sync` noted, statements that " +
			"`pg_stat_statements` has counted, objects that depend on the columns, and roles that may use them. It changes nothing.",
		Attributes: map[string]schema.Attribute{
			"schema": schema.StringAttribute{
				Optional: true, Computed: true, Validators: identifier,
				MarkdownDescription: "Schema of the table, exactly as it is written in the catalogs. The default is `public`.",
			},
			"table": schema.StringAttribute{
				Required: true, Validators: identifier,
				MarkdownDescription: "Name of the table, without quotes, exactly as it is written in the catalogs.",
			},
			"columns": schema.SetAttribute{
				Required: true, ElementType: types.StringType,
				Validators:          []validator.Set{setvalidator.SizeAtLeast(1), setvalidator.ValueStringsAre(identifier...)},
				MarkdownDescription: "Names of the columns. A column that a contract has taken away keeps its former name here.",
			},
			"writers":        list("Who wrote one side only of a sync of the columns, the latest first; also of a sync that a contract has retired.", writer),
			"legacy_writers": list("Those of `writers` whose `side` is `old`.", writer),
			"watched_since":  text("Since when a live sync notes writers (RFC 3339); null when none does."),
			"statements": list("Statements that use the columns or may use them, the certain and most frequent ones first. `count(*)` is no use.",
				map[string]schema.Attribute{
					"query":    text("Normalized text, without its constants; cut at 1,000 characters."),
					"query_id": text("Its `queryid` in `pg_stat_statements`."),
					"role":     text("Role that ran it."),
					"certain": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether the server resolved the names in it: aliases, stars, whole " +
						"rows and views are seen through then. If not, its text has the words, or all columns of the table."},
					"reads":       strings("Columns whose values it reads, when that is certain."),
					"writes":      strings("Columns that it sets, when that is certain."),
					"calls":       schema.Int64Attribute{Computed: true, MarkdownDescription: "How often it was called since the server counts."},
					"calls_since": schema.Int64Attribute{Computed: true, MarkdownDescription: "How often it was called after `since`; null when no look was stored."},
					"since":       text("When an apply last stored how often it had been called (RFC 3339); null when no look was stored."),
				}),
			"statements_since":    text("Since when the server counts statements (RFC 3339); null when it does not say."),
			"statements_complete": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether every statement was seen that ran since `statements_since`: `statements_coverage` is empty."},
			"statements_coverage": strings("What `statements` may lack and why, in sentences, each with what would change it."),
			"dependants": list("Objects that have to do with the columns.", map[string]schema.Attribute{
				"type":     text("Its type, such as `view`, `index`, `function` or `policy`."),
				"identity": text("Its name."),
				"effect": text("`blocks`: the server refuses to drop the column. `dropped`: it goes along with the column without a word. `mentions`: the text of " +
					"a function has the words, and would fail when it runs."),
			}),
			"privileges": list("Roles besides the owner that may use the columns. Superusers and members of roles such as `pg_read_all_data` need no privilege.",
				map[string]schema.Attribute{
					"role":      text("The role, or `PUBLIC` for everybody."),
					"privilege": text("`SELECT`, `INSERT`, `UPDATE` or `REFERENCES`."),
					"column":    text("The column; null for a privilege on the whole table."),
				}),
			"summary": text("All of it in a few lines of plain text, for the `error_message` of a `check` or a pull request."),
		},
	}
}

// Read looks. Without a database it says that it could not, because a plan may come before the database.
func (d *columnUsage) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m columnUsageModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	var columns []string
	resp.Diagnostics.Append(m.Columns.ElementsAs(ctx, &columns, false)...)
	if resp.Diagnostics.HasError() {
		return
	}
	slices.Sort(columns)
	m.Schema = types.StringValue(or(m.Schema, "public"))
	name := pg.TableName{Schema: m.Schema.ValueString(), Name: m.Table.ValueString()}
	report, err := &usage.Report{Table: name, Columns: columns}, errConfigurationUnknown
	if d.client.known {
		report, err = usage.Look(ctx, d.client.env, name, columns)
	}
	switch {
	case unreachable(err):
		d.client.warnUnreachable(&resp.Diagnostics, err)
		report = &usage.Report{Table: name, Columns: columns, Coverage: []string{"The database was not asked."}}
		resp.Diagnostics.Append(m.show(ctx, report)...)
		m.Summary = types.StringValue(fmt.Sprintf("Use of %s is not known: the database was not asked.", name))
	case errors.Is(err, context.Canceled):
		resp.Diagnostics.AddError(fmt.Sprintf("The look for who uses %s was interrupted", name), "")
	case err != nil:
		addErrors(&resp.Diagnostics, err, fmt.Sprintf("Use of %s cannot be read", name))
	default:
		resp.Diagnostics.Append(m.show(ctx, report)...)
	}
	if !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	}
}
