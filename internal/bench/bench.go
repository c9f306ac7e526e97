package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// bench is one run: a server, and the table that every measurement gets a copy of.
type bench struct {
	options

	server   *pgtest.Server
	origin   *pgtest.Database // holds the table as it is before the change; nobody is connected to it
	progress io.Writer
	report   report
}

// serverSettings keep what makes a difference in production, such as fsync, and take away what strikes at random: a
// checkpoint or an autovacuum would hit one measurement and miss the next.
var serverSettings = map[string]string{
	"fsync":              "on",
	"shared_buffers":     "512MB",
	"max_wal_size":       "8GB",
	"checkpoint_timeout": "1h",
	"autovacuum":         "off",
	"log_connections":    "on",
}

func begin(ctx context.Context, o options, progress io.Writer) (_ *bench, err error) {
	b := &bench{options: o, progress: progress}
	if b.server, err = pgtest.Start(ctx, pgtest.Options{Major: o.major, Settings: serverSettings}); err != nil {
		return nil, err
	}
	b.report.Machine = describeMachine(b.server.Version)
	b.report.Rows = o.rows
	return b, nil
}

func (b *bench) end() error { return b.server.Stop() }

// say tells the person who waits what is going on.
func (b *bench) say(format string, arguments ...any) {
	fmt.Fprintf(b.progress, time.Now().Format("15:04:05 ")+format+"\n", arguments...)
}

// table makes the table, once.
func (b *bench) table(ctx context.Context) (err error) {
	if b.origin != nil {
		return nil
	}
	b.say("making a table of %d rows", b.rows)
	origin, err := b.server.CreateDatabase(ctx)
	if err != nil {
		return err
	}
	if err := createUsers(ctx, origin, b.rows); err != nil {
		return errors.Join(err, origin.Drop(context.WithoutCancel(ctx)))
	}
	// A database can be copied only while nobody is connected to it.
	origin.Owner.Close()
	origin.Super.Close()
	b.origin = origin
	return nil
}
