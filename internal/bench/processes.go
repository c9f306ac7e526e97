package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// processes are the processes of a server. The time that they have had a processor does not depend on who else is busy on
// the machine, as the time on the clock does.
type processes struct{ postmaster string }

// processesOf finds the parent of all processes of a server. It is "" where the system does not tell.
func processesOf(ctx context.Context, server *pgtest.Server) (processes, error) {
	var pid int
	if err := server.Superuser.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return processes{}, err
	}
	parent, _, ok := statOf(strconv.Itoa(pid))
	if !ok {
		return processes{}, nil
	}
	return processes{postmaster: parent}, nil
}

// time is the time that all of them had a processor, those that have ended included.
func (p processes) time() (total time.Duration) {
	if p.postmaster == "" {
		return 0
	}
	files, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, file := range files {
		pid := filepath.Base(file)
		if parent, took, ok := statOf(pid); ok && (parent == p.postmaster || pid == p.postmaster) {
			total += took
		}
	}
	return total
}

// ownTime is the time that this process had a processor.
func ownTime() time.Duration {
	_, took, _ := statOf(strconv.Itoa(os.Getpid()))
	return took
}

// statOf reads the parent of a process and the time that it and its ended children had a processor
// (proc_pid_stat(5) of Linux; one tick is 10 ms there).
func statOf(pid string) (parent string, took time.Duration, ok bool) {
	content, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return "", 0, false // it has ended, or this is not Linux
	}
	_, rest, _ := strings.Cut(string(content), ") ") // a name of the server's processes has no parenthesis
	var state string
	var ticks [4]int64
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return "", 0, false
	}
	state, parent = fields[0], fields[1]
	if state == "Z" {
		return "", 0, false // counted again when its parent has taken note
	}
	for i, field := range fields[11:15] {
		if _, err := fmt.Sscan(field, &ticks[i]); err != nil {
			return "", 0, false
		}
		took += time.Duration(ticks[i]) * 10 * time.Millisecond
	}
	return parent, took, true
}
