package atlantis

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// Project is one entry of atlantis.yaml, checked out for one pull request.
type Project struct {
	// Name may be empty, as in a repository without an atlantis.yaml.
	Name string
	// Dir is the folder of the root module, relative to the repository.
	Dir string
	// Workspace is Terraform's, such as "default".
	Workspace string
	// Checkout has the configuration of the pull request. Its Env gets the variables that Atlantis sets.
	Checkout *tfcli.Workspace
	// DiffMarkdown is the server's option --enable-diff-markdown-format.
	DiffMarkdown bool
}

// Run is what one command printed, both streams in the order in which they came.
type Run struct {
	Output   string
	ExitCode int
}

// PlanFile is where the plan waits for its apply: beside the configuration.
func (p *Project) PlanFile() string {
	name := p.Workspace + ".tfplan"
	if p.Name != "" {
		name = p.Name + "-" + name
	}
	return filepath.Join(p.Checkout.Dir, name)
}

// Plan runs the plan step. The init step before it is left out: a development override needs none, and Atlantis shows its
// output only when it fails.
func (p *Project) Plan(ctx context.Context, extraArgs ...string) (Run, error) {
	return p.run(ctx, slices.Concat([]string{"plan", "-input=false", "-refresh", "-out", p.PlanFile()}, extraArgs)...)
}

// Apply runs the apply step on the plan of an earlier Plan.
func (p *Project) Apply(ctx context.Context, extraArgs ...string) (Run, error) {
	return p.run(ctx, slices.Concat([]string{"apply", "-input=false"}, extraArgs, []string{p.PlanFile()})...)
}

// ShowPlan returns the plan as the JSON that policies see.
func (p *Project) ShowPlan(ctx context.Context) ([]byte, error) {
	shown, err := p.run(ctx, "show", "-json", p.PlanFile())
	if err != nil {
		return nil, err
	}
	if shown.ExitCode != 0 {
		return nil, fmt.Errorf("show -json of the plan exited with %d: %s", shown.ExitCode, shown.Output)
	}
	return []byte(shown.Output), nil
}

// environment lists the variables that Atlantis sets. None of them turns colours off.
func (p *Project) environment() []string {
	return []string{
		"TF_IN_AUTOMATION=true",
		"WORKSPACE=" + p.Workspace,
		"DIR=" + p.Checkout.Dir,
		"ATLANTIS_TERRAFORM_VERSION=" + p.Checkout.CLI.Version.String(),
	}
}

func (p *Project) run(ctx context.Context, args ...string) (Run, error) {
	checkout := *p.Checkout
	checkout.Env = slices.Concat(checkout.Env, p.environment())
	var both bytes.Buffer
	process, err := checkout.Start(ctx, &both, args...)
	if err != nil {
		return Run{}, err
	}
	result, err := process.Wait()
	if err != nil {
		return Run{}, err
	}
	// Nobody who has installed the provider sees this warning.
	return Run{Output: tfcli.StripOverrideWarning(both.String()), ExitCode: result.ExitCode}, nil
}
