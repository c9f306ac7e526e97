package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"sync"

	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

const planFile = "tfplan"

// plan makes, saves and shows the plan, and returns what it shows.
func (d *demo) plan(ctx context.Context) (string, error) {
	d.out.Command(d.command(), "plan", "-out="+planFile)
	arguments := []string{"plan", "-input=false", "-out=" + planFile}
	if !d.out.colours {
		arguments = append(arguments, "-no-color") // Terraform colours whatever it writes to
	}
	result, err := d.terraform(ctx, nil, arguments...)
	if err != nil {
		return "", err
	}
	text := planText(result.Stdout)
	d.out.Text(text)
	return text, d.expectSuccess(result)
}

// apply applies the saved plan and shows what Terraform says, but for the warnings that the plan has said already.
// A backfill is watched while it runs.
func (d *demo) apply(ctx context.Context, plan string, backfills bool) error {
	d.out.Command(d.command(), "apply", planFile)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var watcher sync.WaitGroup
	if backfills {
		watcher.Go(func() { watch(watching, d.database.Owner, d.out) })
	}
	events := &lines{each: func(line string) {
		if isEvent(line) {
			d.out.Line(indent + line)
		}
	}}
	result, err := d.terraform(ctx, events, "apply", "-input=false", "-no-color", planFile)
	stop()
	watcher.Wait()

	if rest := applyText(result.Stdout, plan); rest != "" {
		d.out.Line("")
		d.out.Text(rest)
		d.out.Line("")
	}
	if err != nil {
		return err
	}
	return d.expectSuccess(result)
}

// terraform runs the command so that a second Ctrl-C can end it at once.
func (d *demo) terraform(ctx context.Context, live io.Writer, arguments ...string) (tfcli.Result, error) {
	process, err := d.workspace.Start(ctx, live, arguments...)
	if err != nil {
		return tfcli.Result{}, err
	}
	d.rubbish.running(process)
	defer d.rubbish.running(nil)
	return process.Wait()
}

func (d *demo) expectSuccess(result tfcli.Result) error {
	if result.ExitCode == 0 {
		return nil
	}
	text := strings.Trim(tfcli.StripOverrideWarning(result.Stderr), "\n")
	d.out.Text(text)
	return &refusedError{command: d.command(), status: result.ExitCode, text: text}
}

func (d *demo) command() string { return filepath.Base(d.workspace.CLI.Path) }

// lines passes each complete line on.
type lines struct {
	each    func(line string)
	partial []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.partial = append(l.partial, b...)
	for {
		line, rest, complete := bytes.Cut(l.partial, []byte("\n"))
		if !complete {
			return len(b), nil
		}
		l.each(strings.TrimRight(string(line), "\r"))
		l.partial = rest
	}
}
