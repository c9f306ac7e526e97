package tfcli

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// interrupt kills, with all children: Windows has no interrupt for a process that has no console of its own.
func interrupt(process *os.Process) error { return killGroup(process.Pid) }

func killGroup(pid int) error {
	// The exit code only says that the process has ended already.
	_ = exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(pid)).Run()
	return nil
}
