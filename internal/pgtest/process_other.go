//go:build !unix

package pgtest

import (
	"errors"
	"os/exec"
)

func isolate(*exec.Cmd) error {
	return errors.New("throwaway PostgreSQL servers need Linux or macOS")
}
