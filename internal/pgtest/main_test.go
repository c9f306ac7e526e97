package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// serveVariable makes the test binary a process that starts a server, says what it started, and waits to be killed.
const serveVariable = "PGTEST_SERVE_UNTIL_KILLED"

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) != "" {
		serveUntilKilled()
	}
	pgtest.Main(m)
}

func serveUntilKilled() {
	server, err := pgtest.Start(context.Background(), options(nil))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var directory string
	err = server.Superuser.QueryRow(context.Background(), "SHOW data_directory").Scan(&directory)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(directory, server.Address())
	select {}
}

// options ask for the major of this test run.
func options(settings map[string]string) pgtest.Options {
	major, _ := strconv.Atoi(os.Getenv(pgtest.MajorVariable)) // unset is 0, any major; NewDatabase complains of others
	return pgtest.Options{Major: major, Settings: settings}
}
