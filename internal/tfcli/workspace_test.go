//go:build unix

package tfcli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// These run the real command, on configurations without a provider.

func realWorkspace(t *testing.T) *Workspace {
	t.Helper()
	cli, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newWorkspace(t, cli)
}

func TestRealCommandIgnoresTheUsersOwnConfiguration(t *testing.T) {
	t.Setenv("TF_CLI_CONFIG_FILE", filepath.Join(t.TempDir(), "missing.tfrc"))
	w := realWorkspace(t)
	got, err := w.Run(t.Context(), "version")
	if err != nil {
		t.Fatal(err)
	}
	if got.ExitCode != 0 || got.Stderr != "" || !strings.HasPrefix(got.Stdout, w.CLI.Product+" v"+w.CLI.Version.String()) {
		t.Errorf("got %+v", got)
	}
}

func TestRealCommandValidates(t *testing.T) {
	w := realWorkspace(t)
	if err := w.Write("main.tf", "output \"answer\" { value = 42 }\n"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"validate"}, {"validate", "-no-color"}} {
		got, err := w.Run(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		if got.ExitCode != 0 {
			t.Fatalf("%v: %+v", args, got)
		}
		if !strings.Contains(got.Stdout, "development overrides") {
			t.Errorf("%v: no override is in effect:\n%s", args, got.Stdout)
		}
		stripped := StripOverrideWarning(got.Stdout)
		if strings.Contains(stripped, "override") || strings.Contains(stripped, "│") || !strings.Contains(stripped, "Success!") {
			t.Errorf("%v: stripped to:\n%s", args, stripped)
		}
	}
}

func TestRealCommandPlans(t *testing.T) {
	w := realWorkspace(t)
	if err := w.Write("modules/answer/main.tf", "output \"answer\" { value = 42 }\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Write("broken.tf", "output {"); err != nil {
		t.Fatal(err)
	}
	result, plan, err := w.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 1 || plan != nil {
		t.Fatalf("a broken configuration was planned: %+v", result)
	}

	if err := w.Remove("broken.tf"); err != nil {
		t.Fatal(err)
	}
	if err := w.Write("main.tf", "output \"answer\" { value = 42 }\n"); err != nil {
		t.Fatal(err)
	}
	result, plan, err = w.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if plan == nil {
		t.Fatalf("no plan: %+v", result)
	}
	if change := plan.OutputChanges["answer"]; change == nil || !change.Actions.Create() {
		t.Errorf("planned %+v", change)
	}

	result, err = w.Run(t.Context(), "apply", planFile)
	if err != nil || result.ExitCode != 0 {
		t.Errorf("apply of the saved plan: %v, %+v", err, result)
	}
}

func TestProviderAddress(t *testing.T) {
	for _, address := range []string{"registry.terraform.io/stagedpg/postgres", "stagedpg/postgres"} {
		config, err := cliConfig(address, ".")
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range []string{`"registry.terraform.io/stagedpg/postgres" = "/`, `"registry.opentofu.org/stagedpg/postgres" = "/`} {
			if !strings.Contains(config, source) {
				t.Errorf("%s: no %s in:\n%s", address, source, config)
			}
		}
	}
	for _, address := range []string{"", "postgres", "a/b/c/d"} {
		if _, err := cliConfig(address, "."); err == nil {
			t.Errorf("%q was taken for a provider address", address)
		}
	}
}

func TestModuleIsFoundFromAnyDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := moduleDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "main.go")); err != nil {
		t.Errorf("%s is not the top of the module: %v", dir, err)
	}
}
