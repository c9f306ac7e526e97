package tfcli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/hashicorp/go-version"
)

// PathVariable names the environment variable that selects the command. terraform-plugin-testing reads the same one, so
// that one setting moves every test to another Terraform or to OpenTofu.
const PathVariable = "TF_ACC_TERRAFORM_PATH"

// oldest is the first release whose language has everything the provider serves: provider functions came with 1.8.
var oldest = version.Must(version.NewVersion("1.8.0"))

// The two products that speak the provider protocol.
const (
	Terraform = "Terraform"
	OpenTofu  = "OpenTofu"
)

// CLI is a Terraform or OpenTofu command that runs on this machine.
type CLI struct {
	Path    string
	Product string // Terraform or OpenTofu
	Version *version.Version
}

// String names the command as its users do, for example "Terraform 1.11.4".
func (c CLI) String() string { return c.Product + " " + c.Version.String() }

// AtLeast tells whether the command is this version or newer. Both products number their features alike only up to
// 1.5, so ask for the Product first where they differ. It panics when atLeast is not a version.
func (c CLI) AtLeast(atLeast string) bool {
	return c.Version.GreaterThanOrEqual(version.Must(version.NewVersion(atLeast)))
}

// Find returns the command named by TF_ACC_TERRAFORM_PATH, or else terraform or tofu from PATH, or else a Terraform
// that it downloads once into the user's cache directory. A command that was asked for by name is never replaced by
// another one. The error says in one sentence what was tried and what to install.
func Find(ctx context.Context) (CLI, error) {
	return find(ctx, os.Getenv(PathVariable), download)
}

func find(ctx context.Context, chosen string, download func(context.Context) (string, error)) (CLI, error) {
	if chosen != "" {
		path, err := exec.LookPath(chosen)
		if err != nil {
			return CLI{}, fmt.Errorf("%s is %q, which is not a command that can be run: %w", PathVariable, chosen, err)
		}
		cli, err := inspect(ctx, path)
		if err != nil {
			return CLI{}, fmt.Errorf("%s is %q, which cannot be used: %w", PathVariable, chosen, err)
		}
		return cli, nil
	}

	var tried []string
	for _, name := range []string{"terraform", "tofu"} {
		path, err := exec.LookPath(name)
		if errors.Is(err, exec.ErrNotFound) {
			tried = append(tried, name+" is not on PATH")
			continue
		}
		if err != nil {
			tried = append(tried, err.Error())
			continue
		}
		cli, err := inspect(ctx, path)
		if err == nil {
			return cli, nil
		}
		tried = append(tried, err.Error())
	}

	path, err := download(ctx)
	if err == nil {
		var cli CLI
		if cli, err = inspect(ctx, path); err == nil {
			return cli, nil
		}
	}
	return CLI{}, fmt.Errorf("no Terraform command: %s, and Terraform %s could not be downloaded (%w); "+
		"install Terraform or OpenTofu %s or newer on PATH, or set %s",
		strings.Join(tried, ", "), downloadVersion, err, oldest, PathVariable)
}

var banner = regexp.MustCompile(`(?m)^(Terraform|OpenTofu) v(\S+)`)

// inspect asks a command what it is. Only the banner of the plain output tells the products apart: OpenTofu's
// version -json calls its own version "terraform_version".
func inspect(ctx context.Context, path string) (CLI, error) {
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env = environment(os.Environ(), os.DevNull, nil)
	out, err := cmd.Output()
	if err != nil {
		return CLI{}, fmt.Errorf("%s version: %w", path, err)
	}
	match := banner.FindSubmatch(out)
	if match == nil {
		return CLI{}, fmt.Errorf("%s is neither Terraform nor OpenTofu", path)
	}
	release, err := version.NewVersion(string(match[2]))
	if err != nil {
		return CLI{}, fmt.Errorf("%s version: %w", path, err)
	}
	cli := CLI{Path: path, Product: string(match[1]), Version: release}
	// A release candidate counts as its release: what it lacks is not what this check is for.
	if release.Core().LessThan(oldest) {
		return CLI{}, fmt.Errorf("%s is %s, older than %s", path, cli, oldest)
	}
	return cli, nil
}
