//go:build unix

package tfcli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-version"
)

// writeCommand puts a shell script called name into a new folder and returns the folder.
func writeCommand(t *testing.T, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fakeWorkspace is a workspace whose command is a shell script.
func fakeWorkspace(t *testing.T, script string) *Workspace {
	t.Helper()
	path := filepath.Join(writeCommand(t, "terraform", script), "terraform")
	cli := CLI{Path: path, Product: Terraform, Version: version.Must(version.NewVersion("1.11.4"))}
	return newWorkspace(t, cli)
}

func newWorkspace(t *testing.T, cli CLI) *Workspace {
	t.Helper()
	w, err := NewWorkspace(cli, "registry.terraform.io/stagedpg/postgres", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}
