// Command demo shows a whole column change on a live table: users.full_name is split into first_name and last_name, in
// three stages with the real Terraform command, while eight services write to the table. It brings its own server and
// leaves nothing behind; KEEP=1, or -keep, leaves the server up to look around.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// options are what a run can be told.
type options struct {
	rows  int
	major int // of PostgreSQL; 0 is any supported one
	keep  bool
}

// interruptedStatus is what a shell reports of a command that Ctrl-C has ended: 128 and the number of SIGINT.
const interruptedStatus = 130

func main() {
	chosen, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2) // the flag package has said why
	}

	out := newConsole(os.Stdout)
	d := &demo{options: chosen, out: out, input: os.Stdin}
	ctx, stop := untilInterrupted(context.Background(), d)
	defer stop()

	err = d.run(ctx)
	switch {
	case errors.Is(err, context.Canceled):
		out.Line("", "Interrupted. The server and all temporary files are removed.")
		os.Exit(interruptedStatus)
	case err != nil:
		os.Exit(1) // run has said why
	}
}

func parse(arguments []string) (options, error) {
	var chosen options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.IntVar(&chosen.rows, "rows", 300_000, "rows of the table users")
	flags.BoolVar(&chosen.keep, "keep", truthy(os.Getenv("KEEP")), "leave the server up afterwards, until Ctrl-C; KEEP=1 does the same")
	major, _ := strconv.Atoi(os.Getenv(pgtest.MajorVariable)) // what is not a number counts as not set
	flags.IntVar(&chosen.major, "major", major, "PostgreSQL major, 14 to 18, or 0 for any; "+pgtest.MajorVariable+" does the same")
	if err := flags.Parse(arguments); err != nil {
		return chosen, err
	}
	if chosen.rows < 1 || flags.NArg() > 0 {
		err := errors.New("-rows is at least 1, and there are no arguments beside the flags")
		fmt.Fprintln(flags.Output(), err)
		return chosen, err
	}
	return chosen, nil
}

// truthy is how people switch things on in the environment.
func truthy(value string) bool {
	on, err := strconv.ParseBool(value)
	return value != "" && (on || err != nil) // KEEP=yes is a yes
}
