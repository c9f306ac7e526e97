//go:build !linux

package tfcli

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"strings"
)

// childrenOf asks ps, which every Unix has (POSIX names these columns); on Windows the error says that it is missing.
func childrenOf(parent int) ([]child, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "comm=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var children []child
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		var pid, ppid int
		if _, err := fmt.Sscan(lines.Text(), &pid, &ppid); err != nil {
			return nil, fmt.Errorf("read the list of processes: %w", err)
		}
		if ppid != parent {
			continue
		}
		// The command is the rest of the line: it may hold spaces.
		_, command, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		_, command, _ = strings.Cut(strings.TrimSpace(command), " ")
		children = append(children, child{pid, strings.TrimSpace(command)})
	}
	return children, lines.Err()
}
