package expression

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// SafeSearchPath is the search path of expressions that run in other people's sessions: nobody but the server itself can
// put a function into it. Temporary objects, which are searched first unless they are named, come last.
const SafeSearchPath = "pg_catalog, pg_temp"

// InSafePath runs fn with the safe search path, in a scope whose types mean there what they mean here.
func InSafePath(ctx context.Context, tx pgx.Tx, scope Scope, fn func(Scope) error) error {
	safe := Scope{Table: scope.Table, Planned: make(map[string]string)}
	var before string
	if err := tx.QueryRow(ctx, `SELECT current_setting('search_path')`).Scan(&before); err != nil {
		return fmt.Errorf("read search_path: %w", err)
	}
	set := func(path string) error {
		if _, err := tx.Exec(ctx, `SELECT set_config('search_path', $1, true)`, path); err != nil {
			return fmt.Errorf("set search_path: %w", err)
		}
		return nil
	}
	types := make(map[string][2]any)
	for name, typeName := range scope.Planned {
		t, err := ResolveType(ctx, tx, typeName)
		if err != nil {
			return err
		}
		types[name] = [2]any{t.OID, t.Typmod}
	}
	if err := set(SafeSearchPath); err != nil {
		return err
	}
	for name, t := range types {
		var qualified string
		if err := tx.QueryRow(ctx, `SELECT format_type($1::oid, $2::int)`, t[0], t[1]).Scan(&qualified); err != nil {
			return fmt.Errorf("name a type: %w", err)
		}
		safe.Planned[name] = qualified
	}
	if err := fn(safe); err != nil {
		return err
	}
	return set(before)
}
