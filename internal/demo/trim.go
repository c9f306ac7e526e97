package main

import (
	"regexp"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

var (
	escape = regexp.MustCompile("\x1b\\[[0-9;]*m")
	// event is a line about one resource, such as "postgres_column_expand.name: Creation complete after 0s".
	event = regexp.MustCompile(`^\w+\.\w.*: (Creat|Modif|Destr|Still |Refreshing |Read)`)
	// quiet are events that say only that Terraform is still there, or that it looked.
	quiet = regexp.MustCompile(`: (Still |Refreshing state\.\.\.|Reading\.\.\.|Read complete )`)
)

// planText is what a reviewer reads of the output of plan: without the events of the refresh and without the warning
// about the development override. (Terraform itself leaves out how to apply a saved plan when it runs in automation.)
func planText(output string) string {
	var kept strings.Builder
	for line := range strings.Lines(tfcli.StripOverrideWarning(output)) {
		if bare := escape.ReplaceAllString(line, ""); !event.MatchString(bare) {
			kept.WriteString(line)
		}
	}
	return strings.Trim(kept.String(), "\n") + "\n"
}

// isEvent tells whether a line of the output of apply, without colours, is worth showing at once.
func isEvent(line string) bool { return event.MatchString(line) && !quiet.MatchString(line) }

// applyText is what remains of the output of apply, without colours: not the events, and not the warnings that the
// plan has given already.
func applyText(output, plan string) string {
	plan = escape.ReplaceAllString(plan, "")
	var kept strings.Builder
	known := false
	for line := range strings.Lines(tfcli.StripOverrideWarning(output)) {
		switch {
		case event.MatchString(line):
			continue
		case strings.HasPrefix(line, "Warning: "):
			known = strings.Contains(plan, strings.TrimSpace(line))
		case startsOver.MatchString(line):
			known = false
		}
		if !known {
			kept.WriteString(line)
		}
	}
	return strings.Trim(kept.String(), "\n")
}

// startsOver is a line that no warning holds, because it is Terraform's own.
var startsOver = regexp.MustCompile(`^(Error: |Apply complete! |Interrupt received\.|Outputs:|Stopping operation\.\.\.)`)
