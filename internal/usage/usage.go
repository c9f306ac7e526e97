// Package usage tells who still reads or writes columns of a table: services that the sync triggers noted, statements that
// the server has counted, objects that depend on the columns, and roles that may use them.
package usage

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Report is what is known of the use of some columns at one moment.
type Report struct {
	Table   pg.TableName
	Columns []string
	// Away are those of the columns that a contract has taken away, and Planned those that are still to be added.
	Away, Planned []string
	// At is when the look was made, by the server's clock.
	At time.Time

	// Writers are those that wrote one side only of a sync of the columns, the latest first.
	Writers []ledger.Writer
	// WatchedSince is when the oldest sync was made that is live; nil when nothing watches.
	WatchedSince *time.Time

	// Statements are those that use the columns, and those that may. The most certain and most frequent come first.
	Statements []Statement
	// CountedSince is when the server began to count statements; nil when it does not say.
	CountedSince *time.Time
	// Coverage says in sentences what the statements may lack. It is empty when they are all there are.
	Coverage []string
	// FirstLook and LastLook are when the calls of statements on all the columns were first and last stored; nil when they
	// never were.
	FirstLook, LastLook *time.Time

	Objects    []Object
	Privileges []Privilege
}

// Look finds out who uses the columns. It changes nothing.
func Look(ctx context.Context, env *stage.Env, name pg.TableName, columns []string) (*Report, error) {
	r, _, err := look(ctx, env, name, columns)
	return r, err
}

// StoreLook is Look for an apply: it also stores how often each statement has been called, so that a later look can tell
// which of them have run since.
func StoreLook(ctx context.Context, env *stage.Env, name pg.TableName, columns []string) (*Report, error) {
	if err := env.Ledger.Ensure(ctx, env.DB); err != nil {
		return nil, err
	}
	r, t, err := look(ctx, env, name, columns)
	if err != nil {
		return nil, err
	}
	return r, env.DB.Tx(ctx, pgx.TxOptions{}, nil, func(tx pgx.Tx) error { return r.store(ctx, tx, env, t) })
}

func look(ctx context.Context, env *stage.Env, name pg.TableName, columns []string) (*Report, *target, error) {
	r := &Report{Table: name, Columns: columns}
	var t *target
	var found []Statement
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		if t, err = readTarget(ctx, tx, env, name, columns); err != nil {
			return err
		}
		r.Away, r.Planned = t.away, t.planned
		if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&r.At); err != nil {
			return err
		}
		if err := r.readWriters(ctx, tx, env, t); err != nil {
			return err
		}
		if err := r.readObjects(ctx, tx, env, t); err != nil {
			return err
		}
		if r.Privileges, err = readPrivileges(ctx, tx, t); err != nil {
			return err
		}
		found, err = r.readStatements(ctx, tx, t)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if err := r.resolve(ctx, env, t, found); err != nil {
		return nil, nil, err
	}
	err = env.DB.Look(ctx, func(tx pgx.Tx) error { return r.compare(ctx, tx, env, t) })
	return r, t, err
}

// readObjects collects what depends on the columns, and the functions whose text mentions them.
func (r *Report) readObjects(ctx context.Context, tx pgx.Tx, env *stage.Env, t *target) (err error) {
	present := t.presentNames()
	if len(present) > 0 {
		if r.Objects, err = Dependants(ctx, tx, t.table, present); err != nil {
			return err
		}
	}
	functions, err := Functions(ctx, tx, t.table, r.Columns)
	if err != nil {
		return err
	}
	for _, f := range functions {
		// The functions in the ledger's schema are the provider's own.
		if f.Schema != env.Ledger.Schema {
			r.Objects = append(r.Objects, Object{Type: "function", Identity: f.Name, Effect: Mentions})
		}
	}
	return nil
}

// errRollback ends a transaction that must leave nothing behind.
var errRollback = errors.New("nothing is to be kept")

// scratch runs fn in a transaction that can write and is always rolled back.
func scratch(ctx context.Context, db *pg.DB, settings []pg.Setting, fn func(tx pgx.Tx) error) error {
	err := db.Tx(ctx, pgx.TxOptions{AccessMode: pgx.ReadWrite}, settings, func(tx pgx.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errRollback
	})
	if errors.Is(err, errRollback) {
		return nil
	}
	return err
}
