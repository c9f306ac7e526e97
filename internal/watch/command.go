package watch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Exit codes.
const (
	success      = 0
	failure      = 1
	misuse       = 2
	stoppedEarly = 130 // as of a command that Ctrl-C has ended
)

const usage = `Usage: terraform-provider-postgres watch [flags] [connection string]

Shows how the backfills of a database go while applies run them: live bars in a
terminal, otherwise a line when something changes and every 10 seconds.
It changes nothing, and runs until Ctrl-C.

The connection string is a URI, key=value pairs or the name of a database, as
psql takes them. What it leaves out comes from libpq's environment variables and
files: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGSERVICE, ~/.pgpass.

  terraform-provider-postgres watch postgres://alice@db.example.com/shop
  PGSERVICE=shop terraform-provider-postgres watch -until-complete

Exit code: 0; 1 when there is no ledger or no connection could be had; 2 for
wrong flags; 130 when -until-complete was interrupted before.

Flags:
`

// options are the arguments of the command.
type options struct {
	connection    string
	ledgerSchema  string
	interval      time.Duration
	once          bool
	untilComplete bool
}

// parse reads the arguments. It prints what is wrong with them, or the help, to stderr or stdout.
func parse(args []string, stdout, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // The order and place of the messages is ours.
	flags.StringVar(&o.ledgerSchema, "ledger-schema", ledger.DefaultSchema, "`schema` of the ledger, as ledger_schema in the provider block")
	flags.DurationVar(&o.interval, "interval", time.Second, "`time` between two looks")
	flags.BoolVar(&o.once, "once", false, "print a line for each backfill, also those that are complete, and exit")
	flags.BoolVar(&o.untilComplete, "until-complete", false, "exit when every backfill is complete")
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return o, err
	case err != nil:
	case flags.NArg() > 1:
		err = fmt.Errorf("one connection string is enough, there are %d arguments after the flags", flags.NArg())
	case o.interval < 100*time.Millisecond:
		err = fmt.Errorf("-interval must be at least 100ms, not %s", o.interval)
	case o.once && o.untilComplete:
		err = errors.New("-once and -until-complete exclude each other")
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s\n\n  terraform-provider-postgres watch -h\n", err)
	}
	o.connection = flags.Arg(0)
	return o, err
}

// Main runs the command with the arguments after its name and returns its exit code.
func Main(ctx context.Context, args []string, stdout *os.File, stderr io.Writer) int {
	o, err := parse(args, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return success
	case err != nil:
		return misuse
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = o.run(ctx, stdout)
	switch {
	case err == nil, interrupted(err) && !o.untilComplete && !o.once:
		return success
	case interrupted(err):
		return stoppedEarly
	}
	for _, f := range finding.All(err, "The progress of backfills cannot be read") {
		_, _ = fmt.Fprintf(stderr, "Error: %s\n\n%s\n", f.Summary, f.Detail)
	}
	return failure
}

func (o options) run(ctx context.Context, stdout *os.File) error {
	settings := pg.Settings{
		ConnectionString: o.connection, ApplicationName: "terraform-provider-postgres watch",
		ConnectTimeout: 10 * time.Second, MaxConnections: 1,
	}
	if !strings.ContainsAny(o.connection, "=:/") { // psql takes a bare word as the name of the database, too.
		settings.ConnectionString, settings.Database = "", o.connection
	}
	db := pg.Open(settings)
	defer db.Close()
	source := FromLedger(db, ledger.Ledger{Schema: o.ledgerSchema})
	if o.once {
		return once(ctx, source, stdout)
	}
	view := NewPlain(stdout)
	if isatty.IsTerminal(stdout.Fd()) && os.Getenv("TERM") != "dumb" {
		view = NewBars(stdout)
	}
	w := Watcher{Source: source, View: view, Interval: o.interval, UntilComplete: o.untilComplete, Transient: transient}
	return w.Run(ctx)
}

// once prints all backfills.
func once(ctx context.Context, source Source, w io.Writer) error {
	all, err := source(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		_, err = fmt.Fprintln(w, idle(all))
	}
	for _, p := range all {
		if _, err = fmt.Fprintln(w, Line(p)); err != nil {
			break
		}
	}
	return err
}
