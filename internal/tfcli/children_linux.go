package tfcli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// childrenOf reads /proc, because containers often come without ps.
func childrenOf(parent int) ([]child, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []child
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue // it ended meanwhile
		}
		ppid, err := parentInStat(string(stat))
		if err != nil {
			return nil, err
		}
		if ppid != parent {
			continue
		}
		executable, err := os.Readlink(filepath.Join("/proc", entry.Name(), "exe"))
		if err != nil {
			continue // a zombie, or it ended meanwhile
		}
		// A binary that was rebuilt under a running process reads as "path (deleted)".
		children = append(children, child{pid, strings.TrimSuffix(executable, " (deleted)")})
	}
	return children, nil
}

// parentInStat returns the fourth field of /proc/PID/stat. The second one is the process name in parentheses and may
// itself hold spaces and parentheses, so fields count from the last one (proc_pid_stat(5)).
func parentInStat(stat string) (int, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("not a process status: %q", stat)
	}
	return strconv.Atoi(fields[1])
}
