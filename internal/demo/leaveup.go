package main

import (
	"bufio"
	"context"
	"path/filepath"
	"strings"
)

// leaveUp says how to look at what the demo did, and waits for Ctrl-C, or for Enter where somebody can press it.
func (d *demo) leaveUp(ctx context.Context) {
	if d.services != nil {
		d.services.stop()
	}
	d.out.Heading("The server stays up")
	d.out.Text("The services have stopped. To look around:\n")
	if d.database != nil {
		d.out.Line("", indent+"psql '"+d.database.ConnString()+"'")
	}
	if d.workspace != nil {
		d.out.Line("",
			indent+"cd "+d.workspace.Dir,
			indent+"export TF_CLI_CONFIG_FILE="+filepath.Join(filepath.Dir(d.workspace.Dir), "cli.tfrc"),
			indent+"export "+strings.Join(d.workspace.Env, " "),
			indent+d.command()+" plan")
	}
	defer d.out.Line("", indent+"Removing everything.")
	if !isTerminal(d.input) {
		d.out.Line("", indent+"Ctrl-C removes everything.")
		<-ctx.Done()
		return
	}
	d.out.Line("", indent+"Enter or Ctrl-C removes everything.")
	entered := make(chan struct{})
	go func() {
		defer close(entered)
		// The end of the input is an answer too.
		_, _ = bufio.NewReader(d.input).ReadString('\n')
	}()
	select {
	case <-entered:
	case <-ctx.Done():
	}
}
