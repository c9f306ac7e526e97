package pgtest

import (
	"archive/tar"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestUnpackMakesReadableFilesAndTheListedLinks(t *testing.T) {
	tarball := filepath.Join(t.TempDir(), "package.tgz")
	writeTarball(t, tarball, map[string]string{
		"package/package.json":             "{}",
		"package/native/bin/postgres":      "program",
		"package/native/lib/libpq.so.5.14": "library",
		"package/native/pg-symlinks.json":  `[{"source":"native/lib/libpq.so.5.14","target":"native/lib/libpq.so.5"}]`,
	})
	parent := t.TempDir()
	if err := unpack(tarball, filepath.Join(parent, "unpacked")); err != nil {
		t.Fatal(err)
	}
	directory := filepath.Join(parent, "moved")
	if err := os.Rename(filepath.Join(parent, "unpacked"), directory); err != nil {
		t.Fatal(err)
	}

	if content, err := os.ReadFile(filepath.Join(directory, "lib", "libpq.so.5")); string(content) != "library" {
		t.Errorf("through the link: %q, %v", content, err)
	}
	for name, want := range map[string]fs.FileMode{".": 0o755, "bin": 0o755, "bin/postgres": 0o755} {
		if info, err := os.Stat(filepath.Join(directory, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s = %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(directory, "package.json")); err == nil {
		t.Error("a file from outside native/ was unpacked")
	}
}

func TestUnpackRefusesPathsThatLeaveTheDirectory(t *testing.T) {
	tarball := filepath.Join(t.TempDir(), "package.tgz")
	writeTarball(t, tarball, map[string]string{"package/native/../../../outside": "x"})
	if err := unpack(tarball, filepath.Join(t.TempDir(), "unpacked")); err == nil {
		t.Error("no error")
	}
}

func writeTarball(t *testing.T, name string, files map[string]string) {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	compressed := gzip.NewWriter(file)
	archive := tar.NewWriter(compressed)
	for name, content := range files {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := compressed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
