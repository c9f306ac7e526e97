package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// demo is one run.
type demo struct {
	options
	out   *console
	input *os.File // whoever may press Enter at the end

	server    *pgtest.Server
	database  *pgtest.Database
	services  *services
	workspace *tfcli.Workspace
	build     string // the folder of the provider's binary
	rubbish   rubbish

	table *snapshot // as it was shown last
	wrong wrong
}

// wrong says that the change went through, but not as it has to.
type wrong []string

func (w wrong) Error() string { return strings.Join(w, "; ") }

// run plays the demo, says how it went, and puts everything away.
func (d *demo) run(ctx context.Context) (err error) {
	began := time.Now()
	defer func() { err = errors.Join(err, d.close()) }()
	withdraw := context.AfterFunc(ctx, func() {
		d.out.Line("", "Interrupted: stopping, in order. Press Ctrl-C again to stop at once.")
	})
	err = d.play(ctx)
	withdraw()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		d.out.Line("", d.out.bold("The demo failed: ")+err.Error())
	} else {
		d.out.Line("", d.out.bold(fmt.Sprintf("Done in %s: no error, no wrong row, nothing left to do.", time.Since(began).Round(time.Second))))
	}
	if d.keep && d.server != nil {
		d.leaveUp(ctx)
	}
	return err
}

func (d *demo) play(ctx context.Context) error {
	if err := d.setUp(ctx); err != nil {
		return err
	}
	for number, stage := range stages {
		if err := d.stage(ctx, number, stage); err != nil {
			return err
		}
	}
	return d.judge(ctx)
}

// close puts away what is there. Terraform has ended by now, so the services are next, and the server is last.
func (d *demo) close() error {
	var errs []error
	if d.services != nil {
		d.services.stop()
	}
	if d.workspace != nil {
		errs = append(errs, d.workspace.Close())
	}
	if d.build != "" {
		errs = append(errs, os.RemoveAll(d.build))
	}
	if d.database != nil {
		d.database.Owner.Close()
		d.database.Super.Close()
	}
	if d.server != nil {
		errs = append(errs, d.server.Stop())
	}
	err := errors.Join(errs...)
	if err != nil {
		d.out.Line("Not everything could be removed: " + err.Error())
	}
	return err
}
