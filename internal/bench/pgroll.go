package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

var errNotOnPath = errors.New("not on PATH")

// pgrollInit makes what pgroll needs in the database. pgroll adds the columns itself.
func pgrollInit(ctx context.Context, t *trial) error {
	if _, err := exec.LookPath("pgroll"); err != nil {
		return errNotOnPath
	}
	if _, err := t.Owner.Exec(ctx, "ALTER TABLE users DROP COLUMN first_name, DROP COLUMN last_name"); err != nil {
		return err
	}
	if err := pgrollCommand(ctx, t, "init"); err != nil {
		return err
	}
	// A schema with tables of its own needs a place to start from. pgroll writes a file for it.
	return inDirectory(func(directory string) error {
		return pgrollCommand(ctx, t, "baseline", "00_users", directory, "--yes")
	})
}

// pgrollStart does the same change pgroll's own way: new columns, each with an expression that fills it.
func pgrollStart(ctx context.Context, _ *bench, t *trial) (time.Duration, error) {
	return 0, inDirectory(func(directory string) error {
		migration := filepath.Join(directory, "01_split_name.json")
		if err := os.WriteFile(migration, pgrollMigration(), 0o600); err != nil {
			return err
		}
		return pgrollCommand(ctx, t, "start", migration)
	})
}

// pgrollComplete gives the columns their names.
func pgrollComplete(ctx context.Context, t *trial) error { return pgrollCommand(ctx, t, "complete") }

// pgrollCommand runs as the superuser, because pgroll makes event triggers.
func pgrollCommand(ctx context.Context, t *trial, arguments ...string) error {
	arguments = append(arguments, "--postgres-url", t.Server.ConnString(t.Name, pgtest.SuperuserRole))
	if output, err := exec.CommandContext(ctx, "pgroll", arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("pgroll %s: %w\n%s", arguments[0], err, output)
	}
	return nil
}

func inDirectory(do func(directory string) error) error {
	directory, err := os.MkdirTemp("", "bench-pgroll-")
	if err != nil {
		return err
	}
	return errors.Join(do(directory), os.RemoveAll(directory))
}

func pgrollMigration() []byte {
	column := func(name, up string) map[string]any {
		return map[string]any{"add_column": map[string]any{
			"table": usersTable.Name, "up": up, "column": map[string]any{"name": name, "type": "text", "nullable": true},
		}}
	}
	document, err := json.Marshal(map[string]any{"operations": []any{column("first_name", firstName), column("last_name", lastName)}})
	if err != nil {
		panic(err) // maps of strings
	}
	return document
}
