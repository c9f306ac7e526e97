//go:build unix

package tfcli

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// ownGroup puts the command into a process group of its own: Ctrl-C in the terminal reaches it only through us, and
// everything it starts can be ended together.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

func interrupt(process *os.Process) error { return process.Signal(os.Interrupt) }

func killGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGKILL)
	// No such group: all have ended. Not permitted: macOS says so for a group of which only zombies are left.
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EPERM) {
		return nil
	}
	return err
}
