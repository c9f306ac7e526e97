package tfcli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"
)

// downloadVersion is pinned so that a run today and a run next month test the same command.
const downloadVersion = "1.16.2"

// downloadTimeout lets a slow line fetch about 30 MB and still ends before a test's own timeout would hide the reason.
const downloadTimeout = 5 * time.Minute

// download puts Terraform into the user's cache directory, once, and returns its path. It installs beside the final
// place and renames, because the tests of several packages may come here at the same time.
func download(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, "terraform-provider-postgres", "terraform-"+downloadVersion)
	executable := filepath.Join(final, product.Terraform.BinaryName())
	if _, err := os.Stat(executable); err == nil {
		return executable, nil
	}

	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(filepath.Dir(final), "download-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(partial) // it is empty or gone when all went well, and only cache when not

	install := &releases.ExactVersion{
		Product:    product.Terraform,
		Version:    version.Must(version.NewVersion(downloadVersion)),
		InstallDir: partial,
		Timeout:    downloadTimeout,
	}
	if _, err := install.Install(ctx); err != nil {
		return "", err
	}
	if err := os.Rename(partial, final); err != nil {
		if _, raced := os.Stat(executable); raced != nil {
			return "", fmt.Errorf("keep the downloaded Terraform: %w", err)
		}
	}
	return executable, nil
}
