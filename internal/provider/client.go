package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Defaults of the provider block.
const (
	defaultApplicationName = "terraform-provider-postgres"
	defaultConnectTimeout  = 10 * time.Second
	defaultLockTimeout     = 200 * time.Millisecond
	defaultLockRetryFor    = 10 * time.Minute
	defaultMaxConnections  = 4
)

// client is what a configured provider hands to its resources.
type client struct {
	env *stage.Env
	// known is false while the provider block has values that only an apply will tell. Then there is nobody to ask.
	known bool

	warnOnce sync.Once
}

var errConfigurationUnknown = errors.New("the provider block has values that are not known yet")

func newClient(ctx context.Context, version string, m providerModel, known bool) (*client, diag.Diagnostics) {
	var diags diag.Diagnostics
	if !known {
		env := &stage.Env{Planned: &stage.Planned{}}
		if !m.LedgerSchema.IsUnknown() { // Statements name it.
			env.Ledger.Schema = or(m.LedgerSchema, ledger.DefaultSchema)
		}
		return &client{env: env}, diags
	}
	settings := pg.Settings{
		ConnectionString: m.ConnectionString.ValueString(),
		Host:             m.Host.ValueString(),
		Port:             m.Port.ValueInt64(),
		Database:         m.Database.ValueString(),
		Username:         m.Username.ValueString(),
		Password:         m.Password.ValueString(),
		SSLMode:          m.SSLMode.ValueString(),
		SSLRootCert:      m.SSLRootCert.ValueString(),
		SSLCert:          m.SSLCert.ValueString(),
		SSLKey:           m.SSLKey.ValueString(),
		Role:             m.Role.ValueString(),
		ApplicationName:  or(m.ApplicationName, defaultApplicationName),
		MaxConnections:   defaultMaxConnections,
	}
	diags.Append(m.PasswordCommand.ElementsAs(ctx, &settings.PasswordCommand, false)...)
	if n := m.MaxConnections.ValueInt64(); n > 0 {
		settings.MaxConnections = int32(n) //nolint:gosec // at most 64
	}
	var lockTimeout, retryFor time.Duration
	for _, d := range []struct {
		into     *time.Duration
		value    timetypes.GoDuration
		fallback time.Duration
	}{
		{&settings.ConnectTimeout, m.ConnectTimeout, defaultConnectTimeout},
		{&lockTimeout, m.LockTimeout, defaultLockTimeout},
		{&retryFor, m.LockRetryFor, defaultLockRetryFor},
	} {
		*d.into = d.fallback
		if !d.value.IsNull() {
			value, more := d.value.ValueGoDuration()
			diags.Append(more...)
			*d.into = value
		}
	}
	if err := settings.Validate(); err != nil {
		diags.AddError("Connection settings are not usable", finding.Capitalize(err.Error())+".")
	}
	if diags.HasError() {
		return nil, diags
	}
	log := slog.New(tflogHandler{})
	db := pg.Open(settings)
	return &client{known: true, env: &stage.Env{
		DB:       db,
		Ledger:   ledger.Ledger{Schema: or(m.LedgerSchema, ledger.DefaultSchema)},
		Runner:   &ddl.Runner{DB: db, Log: log, LockTimeout: lockTimeout, RetryFor: retryFor},
		Log:      log,
		Holder:   holder(version),
		RetryFor: retryFor,
		Planned:  &stage.Planned{},
	}}, diags
}

func or(value types.String, fallback string) string {
	if v := value.ValueString(); v != "" {
		return v
	}
	return fallback
}

// holder names this process to people who wonder who holds a lease.
func holder(version string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	return fmt.Sprintf("terraform-provider-postgres %s, pid %d on %s", version, os.Getpid(), host)
}

// unreachable reports whether the error only says that there is no database to ask. During a plan that is no fault: the
// same apply may create the database.
func unreachable(err error) bool {
	return errors.Is(err, errConfigurationUnknown) || pg.IsUnreachable(err)
}

// warnUnreachable says once for all resources that the plan was made blind.
func (c *client) warnUnreachable(diags *diag.Diagnostics, err error) {
	advice := "That is expected when the database is created in the same apply."
	if pg.IsLoginRefused(err) {
		advice = "That is expected when the role or its password is made in the same apply. Otherwise check username, password and password_command."
	}
	c.warnOnce.Do(func() {
		diags.AddWarning("The plan was made without the database",
			fmt.Sprintf("Nothing was checked against the live tables, and the state was not refreshed: %v.\n\n%s The apply checks everything before it "+
				"changes anything.", err, advice))
	})
}
