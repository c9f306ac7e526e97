package pgtest

import (
	"os"
	"syscall"
)

const (
	sharedMemory = "/dev/shm"
	// leastRoom is far more than the servers of all packages take that are tested at once.
	leastRoom = 4 << 30
)

// memoryDirectory is a folder for everybody whose files are in memory, or "" when there is none with enough room.
func memoryDirectory() string {
	const everybody = 0o777
	var volume syscall.Statfs_t
	info, err := os.Stat(sharedMemory)
	if err != nil || info.Mode().Perm() != everybody || syscall.Statfs(sharedMemory, &volume) != nil || volume.Bavail*uint64(volume.Bsize) < leastRoom { //nolint:gosec // a size
		return ""
	}
	return sharedMemory
}
