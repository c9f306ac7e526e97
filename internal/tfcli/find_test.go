//go:build unix

package tfcli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	command := func(name, banner string) string {
		return writeCommand(t, name, "echo '"+banner+"'\necho 'on linux_amd64'\n")
	}
	terraform := command("terraform", "Terraform v1.11.4")
	oldTerraform := command("terraform", "Terraform v1.7.5")
	tofu := command("tofu", "OpenTofu v1.12.6")
	candidate := command("terraform", "Terraform v1.8.0-rc2")
	stranger := command("terraform", "terraform: a game about planets")
	failing := writeCommand(t, "terraform", "exit 3\n")
	fetched := command("terraform", "Terraform v1.16.2")

	noDownload := func(context.Context) (string, error) { return "", errors.New("no route to host") }
	downloads := func(context.Context) (string, error) { return filepath.Join(fetched, "terraform"), nil }

	for _, test := range []struct {
		name     string
		chosen   string
		path     []string
		download func(context.Context) (string, error)
		want     string
		wantErr  []string
	}{
		{name: "the chosen one before PATH", chosen: filepath.Join(tofu, "tofu"), path: []string{terraform}, want: "OpenTofu 1.12.6"},
		{name: "the chosen one by name", chosen: "tofu", path: []string{terraform, tofu}, want: "OpenTofu 1.12.6"},
		{name: "terraform before tofu", path: []string{tofu, terraform}, want: "Terraform 1.11.4"},
		{name: "tofu alone", path: []string{tofu}, want: "OpenTofu 1.12.6"},
		{name: "tofu when terraform is too old", path: []string{oldTerraform, tofu}, want: "OpenTofu 1.12.6"},
		{name: "tofu when terraform fails", path: []string{failing, tofu}, want: "OpenTofu 1.12.6"},
		{name: "a release candidate", path: []string{candidate}, want: "Terraform 1.8.0-rc2"},
		{name: "a download when there is none", download: downloads, want: "Terraform 1.16.2"},
		{
			name: "a missing chosen one is not replaced", chosen: "/nowhere/terraform", path: []string{terraform},
			wantErr: []string{PathVariable, "/nowhere/terraform"},
		},
		{
			name: "an old chosen one is not replaced", chosen: filepath.Join(oldTerraform, "terraform"), path: []string{terraform},
			wantErr: []string{PathVariable, "Terraform 1.7.5, older than 1.8.0"},
		},
		{
			name: "nothing at all", path: []string{stranger},
			wantErr: []string{"is neither Terraform nor OpenTofu", "tofu is not on PATH", "no route to host", "install Terraform or OpenTofu 1.8.0 or newer"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PATH", strings.Join(test.path, string(os.PathListSeparator)))
			if test.download == nil {
				test.download = noDownload
			}
			cli, err := find(t.Context(), test.chosen, test.download)
			if test.wantErr == nil {
				if err != nil {
					t.Fatal(err)
				}
				if cli.String() != test.want {
					t.Errorf("found %s at %s, want %s", cli, cli.Path, test.want)
				}
				return
			}
			if err == nil {
				t.Fatalf("found %s at %s, want an error", cli, cli.Path)
			}
			for _, part := range test.wantErr {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func TestAtLeast(t *testing.T) {
	w := fakeWorkspace(t, "")
	for atLeast, want := range map[string]bool{"1.8": true, "1.11.4": true, "1.12": false} {
		if got := w.CLI.AtLeast(atLeast); got != want {
			t.Errorf("%s at least %s: %v, want %v", w.CLI, atLeast, got, want)
		}
	}
}
