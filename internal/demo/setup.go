package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"strconv"

	"github.com/dustin/go-humanize"

	example "github.com/stagedpg/terraform-provider-postgres/examples/demo"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// providerSource is what the example asks for.
const providerSource = "stagedpg/postgres"

// setUp starts the server with the table, the services, and a workspace for Terraform.
func (d *demo) setUp(ctx context.Context) (err error) {
	d.out.Line("", d.out.bold("Splitting users.full_name into first_name and last_name, while services write to the table"), "")
	if err := d.startServer(ctx); err != nil {
		return err
	}
	if err := d.openWorkspace(ctx); err != nil {
		return err
	}
	if err := d.createTable(ctx); err != nil {
		return err
	}
	if d.services, err = startServices(ctx, d.database); err != nil {
		return err
	}
	d.out.Fact("services", "%d, which never stop: inserts, changes of names, other updates and deletes of random rows", len(serviceNames))
	return d.showTable(ctx, "users at the start")
}

func (d *demo) startServer(ctx context.Context) (err error) {
	d.out.Status(indent + "starting PostgreSQL …")
	defer d.out.Status("")
	// Figures of a server that does not wait for its disk would be too good to be true.
	settings := map[string]string{"fsync": "on", "shared_preload_libraries": "pg_stat_statements"}
	if d.server, err = pgtest.Start(ctx, pgtest.Options{Major: d.major, Settings: settings}); err != nil {
		return err
	}
	d.out.Fact("server", "PostgreSQL %s on port %d, of its own and for this run only", d.server.Version, d.server.Port)
	if d.database, err = d.server.CreateDatabase(ctx); err != nil {
		return err
	}
	// What most managed services have from the start.
	_, err = d.database.Super.Exec(ctx, fmt.Sprintf("CREATE EXTENSION pg_stat_statements; GRANT pg_read_all_stats TO %s", d.database.OwnerRole))
	return err
}

func (d *demo) openWorkspace(ctx context.Context) error {
	d.out.Status(indent + "building the provider …")
	defer d.out.Status("")
	cli, err := tfcli.Find(ctx)
	if err != nil {
		return err
	}
	if d.build, err = os.MkdirTemp("", "demo-provider-"); err != nil {
		return err
	}
	d.rubbish.folder(d.build)
	// A go command that is killed would leave its compilers running. It is soon done, and obeys Ctrl-C by itself.
	if _, err := tfcli.BuildProvider(context.WithoutCancel(ctx), d.build); err != nil {
		return err
	}
	if d.workspace, err = tfcli.NewWorkspace(cli, providerSource, d.build); err != nil {
		return err
	}
	d.rubbish.folder(path.Dir(d.workspace.Dir))
	d.workspace.Env = []string{
		"PGHOST=" + d.server.Host,
		"PGPORT=" + strconv.Itoa(d.server.Port),
		"PGDATABASE=" + d.database.Name,
		"PGUSER=" + d.database.OwnerRole,
		"PGPASSWORD=" + d.server.Password,
		"PGSSLMODE=disable",
	}
	d.out.Fact("terraform", "%s, with the provider built from this tree", cli)
	return d.addFile("provider.tf")
}

// addFile copies a file of the example into the workspace.
func (d *demo) addFile(name string) error {
	content, err := example.Files.ReadFile(name)
	if err != nil {
		return err
	}
	return d.workspace.Write(name, string(content))
}

func (d *demo) createTable(ctx context.Context) error {
	d.out.Status(indent + "filling the table …")
	defer d.out.Status("")
	if err := pgtest.CreateUsers(ctx, d.database.Owner, d.rows); err != nil {
		return err
	}
	// As autovacuum has done on any table that has been in use for a while.
	if _, err := d.database.Owner.Exec(ctx, "VACUUM (ANALYZE) users, users_oracle"); err != nil {
		return err
	}
	var size int64
	if err := d.database.Owner.QueryRow(ctx, "SELECT pg_total_relation_size('users')").Scan(&size); err != nil {
		return err
	}
	d.out.Fact("table", "users, %s rows, %s with its two indexes", humanize.Comma(int64(d.rows)), humanize.IBytes(uint64(size)))
	return nil
}
