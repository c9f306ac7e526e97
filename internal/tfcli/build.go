package tfcli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
)

// modulePath is the Go module this package is part of, so that a renamed module needs no change here.
var modulePath = strings.TrimSuffix(reflect.TypeFor[CLI]().PkgPath(), "/internal/tfcli")

// BuildProvider builds the provider from this tree into dir and returns the path of the binary. It works from any
// working directory while the sources are still where this package was compiled from.
func BuildProvider(ctx context.Context, dir string) (string, error) {
	root, err := moduleDir(ctx)
	if err != nil {
		return "", err
	}
	binary, err := filepath.Abs(filepath.Join(dir, path.Base(modulePath)+executableSuffix()))
	if err != nil {
		return "", err
	}
	// A go command that is interrupted leaves its temporary folder behind, so it gets one of ours.
	scratch, err := os.MkdirTemp(dir, "go-build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(scratch) }() // Whoever made dir removes it.
	// Version-control stamping would make the build fail in a copied tree or in another user's checkout.
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, ".")
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "GOTMPDIR="+scratch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build of the provider in %s: %w\n%s", root, err, out)
	}
	return binary, nil
}

// moduleDir asks the go command first, which knows the tree that is being worked on, and falls back to where the
// compiler saw this file.
func moduleDir(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", modulePath)
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("the go command is needed to build the provider: %w", err)
	}
	if dir := strings.TrimSpace(string(out)); err == nil && dir != "" {
		return dir, nil
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		dir := filepath.Join(filepath.Dir(file), "..", "..")
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("the sources of %s are not here: run from inside the repository", modulePath)
}

func executableSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}
