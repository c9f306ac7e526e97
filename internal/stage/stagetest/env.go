// Package stagetest gives the tests of the stages what a configured provider hands to a stage.
package stagetest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// NewEnv returns the environment of a provider that works on the database of the connection string.
func NewEnv(t testing.TB, connString string) *stage.Env {
	t.Helper()
	db := pg.Open(pg.Settings{ConnectionString: connString, ApplicationName: "provider", ConnectTimeout: 5 * time.Second, MaxConnections: 4})
	t.Cleanup(db.Close)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	const retryFor = 3 * time.Second
	return &stage.Env{
		DB:       db,
		Ledger:   ledger.Ledger{Schema: ledger.DefaultSchema},
		Runner:   &ddl.Runner{DB: db, Log: log, LockTimeout: 200 * time.Millisecond, RetryFor: retryFor},
		Log:      log,
		Holder:   t.Name(),
		RetryFor: retryFor,
		Planned:  &stage.Planned{},
	}
}
