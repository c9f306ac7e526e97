package provider

import (
	"regexp"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// providerModel is the provider block.
type providerModel struct {
	ConnectionString types.String         `tfsdk:"connection_string"`
	Host             types.String         `tfsdk:"host"`
	Port             types.Int64          `tfsdk:"port"`
	Database         types.String         `tfsdk:"database"`
	Username         types.String         `tfsdk:"username"`
	Password         types.String         `tfsdk:"password"`
	PasswordCommand  types.List           `tfsdk:"password_command"`
	SSLMode          types.String         `tfsdk:"sslmode"`
	SSLRootCert      types.String         `tfsdk:"sslrootcert"`
	SSLCert          types.String         `tfsdk:"sslcert"`
	SSLKey           types.String         `tfsdk:"sslkey"`
	Role             types.String         `tfsdk:"role"`
	ApplicationName  types.String         `tfsdk:"application_name"`
	LedgerSchema     types.String         `tfsdk:"ledger_schema"`
	MaxConnections   types.Int64          `tfsdk:"max_connections"`
	ConnectTimeout   timetypes.GoDuration `tfsdk:"connect_timeout"`
	LockTimeout      timetypes.GoDuration `tfsdk:"lock_timeout"`
	LockRetryFor     timetypes.GoDuration `tfsdk:"lock_retry_for"`
}

// plainSchemaName is what the ledger's schema may be called: the library that upgrades it writes the name unquoted.
var plainSchemaName = regexp.MustCompile(`\A[a-z_][a-z0-9_]{0,62}\z`)

func providerSchema() schema.Schema {
	separate := []validator.String{stringvalidator.ConflictsWith(path.MatchRoot("connection_string"))}
	text := func(description string, validators ...validator.String) schema.StringAttribute {
		return schema.StringAttribute{Optional: true, MarkdownDescription: description, Validators: append(validators, separate...)}
	}
	secret := func(a schema.StringAttribute) schema.StringAttribute {
		a.Sensitive = true
		return a
	}
	duration := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Optional: true, CustomType: timetypes.GoDurationType{}, MarkdownDescription: description}
	}
	return schema.Schema{
		MarkdownDescription: "Changes columns of live PostgreSQL tables in reviewed stages, while services go on working. All settings of the connection may " +
			"be left out; they then come from libpq's own environment variables and files (`PGHOST`, `PGPASSWORD`, `PGSERVICE`, `~/.pgpass`, …).",
		Attributes: map[string]schema.Attribute{
			"connection_string": schema.StringAttribute{
				Optional: true, Sensitive: true,
				MarkdownDescription: "A connection URI or `key=value` string as libpq reads it, in place of the separate settings.",
			},
			"host": text("Host name, or the folder of a Unix socket. The default is `PGHOST`."),
			"port": schema.Int64Attribute{
				Optional: true, MarkdownDescription: "Port. The default is `PGPORT`, or 5432.",
				Validators: []validator.Int64{int64validator.Between(1, 65535), int64validator.ConflictsWith(path.MatchRoot("connection_string"))},
			},
			"database": text("Database whose tables are changed. The ledger is kept in it as well. The default is `PGDATABASE`."),
			"username": text("User to log in as. The default is `PGUSER`."),
			"password": secret(text("Password of the user.", stringvalidator.ConflictsWith(path.MatchRoot("password_command")))),
			"password_command": schema.ListAttribute{
				Optional: true, ElementType: types.StringType,
				MarkdownDescription: "A command and its arguments, run without a shell before each new connection; what it prints is the password. For " +
					"tokens that live for minutes, such as those of RDS, Cloud SQL or Entra.",
				Validators: []validator.List{listvalidator.SizeAtLeast(1)},
			},
			"sslmode": text("TLS mode as in libpq: `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`. The default is `PGSSLMODE`, or `prefer`.",
				stringvalidator.OneOf("disable", "allow", "prefer", "require", "verify-ca", "verify-full")),
			"sslrootcert": text("Certificate authorities to trust: a path, or PEM text."),
			"sslcert":     text("Client certificate: a path, or PEM text.", stringvalidator.AlsoRequires(path.MatchRoot("sslkey"))),
			"sslkey":      secret(text("Key of the client certificate: a path, or PEM text.", stringvalidator.AlsoRequires(path.MatchRoot("sslcert")))),
			"role": schema.StringAttribute{
				Optional: true, Validators: []validator.String{stringvalidator.LengthAtLeast(1)},
				MarkdownDescription: "Role that each transaction takes on with `SET LOCAL ROLE`, such as the owner of the tables.",
			},
			"application_name": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "Name under which the sessions show in `pg_stat_activity`. The default is `terraform-provider-postgres`.",
			},
			"ledger_schema": schema.StringAttribute{
				Optional: true,
				Validators: []validator.String{stringvalidator.RegexMatches(plainSchemaName,
					"must be a plain name: lower-case letters, digits and underscores, at most 63 bytes")},
				MarkdownDescription: "Schema in which the provider keeps its record of stages. The default is `terraform_postgres`. All configurations " +
					"that work on one table must use the same.",
			},
			"max_connections": schema.Int64Attribute{
				Optional: true, Validators: []validator.Int64{int64validator.Between(1, 64)},
				MarkdownDescription: "Most connections that the provider opens at the same time. The default is 4. A backfill uses one for each of its `workers` and two more.",
			},
			"connect_timeout": duration("How long to try to connect, such as `\"10s\"`, which is the default."),
			"lock_timeout": duration("How long one attempt to get a table lock stays in the lock queue at most, such as `\"200ms\"`, which is the " +
				"default. All other queries on the table wait behind it meanwhile. Only where nothing but an autovacuum is in the way, one attempt waits " +
				"1.5 s, after which the server lets the autovacuum yield."),
			"lock_retry_for": duration("How long attempts to get a lock go on before the apply fails and names who holds it, and how " +
				"long a backfill retries rows that others hold. The default is `\"10m\"`."),
		},
	}
}
