package tfcli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
)

// interruptGrace is how long a command whose context ended may take to write its state and stop by itself. Terraform
// waits this long for a provider to return from a cancelled call and more.
const interruptGrace = 20 * time.Second

// planFile is what Plan saves and a following `apply` can name.
const planFile = "tfplan"

// Workspace is a folder with one configuration and its state, in which the command uses a locally built provider.
// No init is needed: a development override also stands in for the lock file's entry.
type Workspace struct {
	CLI CLI
	Dir string   // the configuration and the state
	Env []string // "KEY=value", added last to the command's environment

	cliConfig string
}

// NewWorkspace makes an empty workspace in a temporary folder. Every configuration in it that asks for address, such as
// "registry.terraform.io/stagedpg/postgres", gets the binary in providerDir, whichever registry the command
// itself would have asked.
func NewWorkspace(cli CLI, address, providerDir string) (*Workspace, error) {
	config, err := cliConfig(address, providerDir)
	if err != nil {
		return nil, err
	}
	base, err := os.MkdirTemp("", "tfcli-")
	if err != nil {
		return nil, err
	}
	w := &Workspace{CLI: cli, Dir: filepath.Join(base, "workspace"), cliConfig: filepath.Join(base, "cli.tfrc")}
	if err := os.Mkdir(w.Dir, 0o755); err != nil {
		return nil, err
	}
	// Beside the configuration, not in it: the command would read a file with a .tfrc name only by mistake, but a test
	// that lists the folder should see its own files alone.
	if err := os.WriteFile(w.cliConfig, []byte(config), 0o644); err != nil {
		return nil, err
	}
	return w, nil
}

// Close removes the workspace with its state.
func (w *Workspace) Close() error { return os.RemoveAll(filepath.Dir(w.Dir)) }

// cliConfig names the provider under both default registries, because "stagedpg/postgres" in a configuration means the
// registry of whichever product reads it.
func cliConfig(address, providerDir string) (string, error) {
	dir, err := filepath.Abs(providerDir)
	if err != nil {
		return "", err
	}
	parts := strings.Split(address, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return "", fmt.Errorf("%q is not a provider address such as registry.terraform.io/stagedpg/postgres", address)
	}
	source := strings.Join(parts[len(parts)-2:], "/")
	return fmt.Sprintf(`provider_installation {
  dev_overrides {
    "registry.terraform.io/%[1]s" = %[2]q
    "registry.opentofu.org/%[1]s" = %[2]q
  }
  direct {}
}
`, source, filepath.ToSlash(dir)), nil
}

// Write puts a file into the workspace, making folders as needed.
func (w *Workspace) Write(name, content string) error {
	path := filepath.Join(w.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// Remove takes a file out of the workspace.
func (w *Workspace) Remove(name string) error { return os.Remove(filepath.Join(w.Dir, name)) }

// Result is what one run of the command left.
type Result struct {
	Stdout   string
	Stderr   string
	ExitCode int // -1 when a signal ended the command
}

// Run runs the command to its end. An exit code is a result, not an error: the error says that the command could not
// be started or that the context ended it.
func (w *Workspace) Run(ctx context.Context, args ...string) (Result, error) {
	p, err := w.Start(ctx, nil, args...)
	if err != nil {
		return Result{}, err
	}
	return p.Wait()
}

// Plan runs `plan` with args, saves it as the file "tfplan" and decodes it. The plan is nil when the
// result has an exit code other than 0.
func (w *Workspace) Plan(ctx context.Context, args ...string) (Result, *tfjson.Plan, error) {
	result, err := w.Run(ctx, append([]string{"plan", "-input=false", "-no-color", "-out=" + planFile}, args...)...)
	if err != nil || result.ExitCode != 0 {
		return result, nil, err
	}
	shown, err := w.Run(ctx, "show", "-json", planFile)
	if err != nil {
		return result, nil, err
	}
	if shown.ExitCode != 0 {
		return result, nil, fmt.Errorf("show -json %s exited with %d: %s", planFile, shown.ExitCode, shown.Stderr)
	}
	plan := new(tfjson.Plan)
	if err := json.Unmarshal([]byte(shown.Stdout), plan); err != nil {
		return result, nil, fmt.Errorf("decode the plan: %w", err)
	}
	return result, plan, nil
}

// environment is base without any setting of the caller's own Terraform, which could change what the command prints,
// reads or contacts, plus what makes it quiet and repeatable.
func environment(base []string, cliConfig string, extra []string) []string {
	var env []string
	for _, variable := range base {
		if !strings.HasPrefix(variable, "TF_") {
			env = append(env, variable)
		}
	}
	env = append(env,
		"TF_CLI_CONFIG_FILE="+cliConfig,
		"TF_IN_AUTOMATION=1",
		"CHECKPOINT_DISABLE=1",
	)
	return append(env, extra...)
}
