//go:build !linux

package pgtest

// memoryDirectory would be a folder whose files are in memory.
func memoryDirectory() string { return "" }
