//go:build unix

package atlantis

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-version"

	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// echoing is a project whose Terraform prints its arguments and what Atlantis put into its environment.
func echoing(t *testing.T) *Project {
	t.Helper()
	script := filepath.Join(t.TempDir(), "terraform")
	const content = "#!/bin/sh\necho \"$*\"\necho on stderr >&2\necho \"$TF_IN_AUTOMATION $WORKSPACE $DIR $ATLANTIS_TERRAFORM_VERSION\"\nexit 3\n"
	if err := os.WriteFile(script, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	cli := tfcli.CLI{Path: script, Product: tfcli.Terraform, Version: version.Must(version.NewVersion("1.11.4"))}
	checkout, err := tfcli.NewWorkspace(cli, "stagedpg/postgres", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := checkout.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Project{Name: "users", Dir: "db", Workspace: "staging", Checkout: checkout}
}

func TestCommandsAreThoseOfAtlantis(t *testing.T) {
	p := echoing(t)
	file := filepath.Join(p.Checkout.Dir, "users-staging.tfplan")
	for want, run := range map[string]func() (Run, error){
		"plan -input=false -refresh -out " + file + " -destroy": func() (Run, error) { return p.Plan(t.Context(), "-destroy") },
		"apply -input=false -lock-timeout=1m " + file:           func() (Run, error) { return p.Apply(t.Context(), "-lock-timeout=1m") },
	} {
		got, err := run()
		if err != nil || got.ExitCode != 3 {
			t.Fatalf("%s: exit code %d, %v", want, got.ExitCode, err)
		}
		// The two streams are read by two readers, so that their lines may change places here.
		lines := strings.Split(strings.TrimSpace(got.Output), "\n")
		slices.Sort(lines)
		expected := []string{want, "on stderr", "true staging " + p.Checkout.Dir + " 1.11.4"}
		slices.Sort(expected)
		if !slices.Equal(lines, expected) {
			t.Errorf("got %q, want %q", lines, expected)
		}
	}
	if _, err := p.ShowPlan(t.Context()); err == nil || !strings.Contains(err.Error(), "show -json "+file) {
		t.Errorf("show: %v", err)
	}
}
