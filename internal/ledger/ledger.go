// Package ledger keeps the record of stages in a schema of its own inside the user's database. It is the authority:
// Terraform's state may be lost or stale, while the ledger commits together with the work it records.
package ledger

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// DefaultSchema is the schema of the ledger unless the provider block names another.
const DefaultSchema = "terraform_postgres"

//go:embed migrations/*.sql
var migrations embed.FS

// upgradeTimeout bounds the creation or upgrade of the ledger, and the wait for another apply that is doing it.
const upgradeTimeout = 30 * time.Second

// Ledger is the record in one schema. Its methods run in the caller's transaction, so that the record commits or
// fails together with the work.
type Ledger struct {
	Schema string
}

// table returns the quoted name of one of the ledger's relations.
func (l Ledger) table(name string) string { return pg.TableName{Schema: l.Schema, Name: name}.SQL() }

// Exists reports whether the ledger has been created. A plan must not create it.
func (l Ledger) Exists(ctx context.Context, tx pgx.Tx) (exists bool, err error) {
	err = tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, l.table("stage")).Scan(&exists)
	if err != nil {
		return false, l.explain(fmt.Errorf("look for the ledger: %w", err))
	}
	return exists, nil
}

// Ensure creates the ledger, or upgrades it. Several applies may do so at the same time.
func (l Ledger) Ensure(ctx context.Context, db *pg.DB) error {
	current, err := l.isCurrent(ctx, db)
	if err != nil || current {
		return err
	}
	settings := []pg.Setting{pg.Timeout("lock_timeout", upgradeTimeout), pg.Timeout("statement_timeout", upgradeTimeout)}
	return db.Tx(ctx, pgx.TxOptions{}, settings, func(tx pgx.Tx) error {
		// CREATE SCHEMA IF NOT EXISTS fails when two sessions run it at once; one at a time it is.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, l.lockKey()); err != nil {
			return fmt.Errorf("wait for another apply that creates the ledger: %w", err)
		}
		if err := l.createSchema(ctx, tx); err != nil {
			return err
		}
		return l.upgrade(ctx, tx)
	})
}

// isCurrent reports whether the ledger is there in this provider's version.
func (l Ledger) isCurrent(ctx context.Context, db *pg.DB) (current bool, err error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return false, err
	}
	err = db.Look(ctx, func(tx pgx.Tx) error {
		var exists bool
		if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, l.table("version")).Scan(&exists); err != nil || !exists {
			return err
		}
		var version int
		if err := tx.QueryRow(ctx, `SELECT version FROM `+l.table("version")).Scan(&version); err != nil {
			return l.explain(err)
		}
		if version > len(files) {
			return finding.New(fmt.Sprintf("The ledger in schema %s is newer than this provider", l.Schema),
				fmt.Sprintf("It has version %d, this provider knows up to %d. A newer provider has worked on this database; use that "+
					"version or a later one.", version, len(files)))
		}
		current = version == len(files)
		return nil
	})
	return current, err
}

func (l Ledger) createSchema(ctx context.Context, tx pgx.Tx) error {
	if err := l.CheckPrivileges(ctx, tx); err != nil {
		return err
	}
	// The check comes first: CREATE SCHEMA asks for the privilege even when IF NOT EXISTS finds the schema.
	var exists bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, l.Schema).Scan(&exists)
	if err != nil || exists {
		return err
	}
	if _, err := tx.Exec(ctx, `CREATE SCHEMA `+pg.Quote(l.Schema)); err != nil {
		return fmt.Errorf("create schema %s: %w", l.Schema, err)
	}
	return nil
}

// CheckPrivileges returns a finding when the role could neither use the ledger nor create it.
func (l Ledger) CheckPrivileges(ctx context.Context, tx pgx.Tx) error {
	var exists, mayUse, mayCreate bool
	var role, database string
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
		       coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1), false),
		       has_database_privilege(current_database(), 'CREATE'), current_user, current_database()`, l.Schema).
		Scan(&exists, &mayUse, &mayCreate, &role, &database)
	switch {
	case err != nil:
		return fmt.Errorf("look for schema %s: %w", l.Schema, err)
	case exists && mayUse:
		return l.checkTables(ctx, tx, role)
	case !exists && mayCreate:
		return nil
	case exists:
		return l.lacksPrivilege(role)
	}
	return finding.New(fmt.Sprintf("Role %s may not create the ledger's schema", role),
		fmt.Sprintf("The provider keeps its record of stages in schema %s of the same database. Let somebody who may create schemas "+
			"run this once:\n\n  CREATE SCHEMA %s AUTHORIZATION %s;\n\nor let the role do it:\n\n  GRANT CREATE ON DATABASE %s TO %s;",
			l.Schema, pg.Quote(l.Schema), pg.Quote(role), pg.Quote(database), pg.Quote(role)))
}

// CheckCreate returns a finding when the role may use the ledger's schema but make nothing in it. Functions of syncs and
// archives live there.
func (l Ledger) CheckCreate(ctx context.Context, tx pgx.Tx) error {
	var may bool
	var role string
	err := tx.QueryRow(ctx, `
		SELECT coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $1), true), current_user`, l.Schema).
		Scan(&may, &role)
	if err != nil {
		return fmt.Errorf("look for schema %s: %w", l.Schema, err)
	}
	if may {
		return nil
	}
	return finding.New(fmt.Sprintf("Role %s may not create anything in schema %s", role, l.Schema),
		fmt.Sprintf("The functions of syncs and the archives of contracts live beside the ledger. Its owner can allow it:\n\n  GRANT CREATE ON SCHEMA %s TO %s;",
			pg.Quote(l.Schema), pg.Quote(role)))
}

// checkTables returns a finding when the role may not write the ledger that another role created.
func (l Ledger) checkTables(ctx context.Context, tx pgx.Tx, role string) error {
	var mayWrite bool
	err := tx.QueryRow(ctx, `
		SELECT coalesce(bool_and(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
		                         AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')), true)
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = $1 AND c.relname IN ('stage', 'backfill', 'segment', 'writer_note', 'column_look', 'statement_look')`, l.Schema).Scan(&mayWrite)
	if err != nil {
		return fmt.Errorf("look for the ledger: %w", err)
	}
	if !mayWrite {
		return l.lacksPrivilege(role)
	}
	return nil
}

// upgrade runs the migrations that are missing, all in the caller's transaction.
func (l Ledger) upgrade(ctx context.Context, tx pgx.Tx) error {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	if err := l.migrate(ctx, savepoint); err != nil {
		// The library holds a session-level advisory lock while it works, which a rollback would leave behind.
		rollback := savepoint.Rollback(ctx)
		_, unlock := tx.Exec(ctx, `SELECT pg_advisory_unlock_all()`)
		return errors.Join(l.explain(fmt.Errorf("upgrade the ledger: %w", err)), rollback, unlock)
	}
	return savepoint.Commit(ctx)
}

func (l Ledger) migrate(ctx context.Context, tx pgx.Tx) error {
	m, err := migrate.NewMigratorEx(ctx, tx.Conn(), l.Schema+".version", &migrate.MigratorOptions{DisableTx: true})
	if err != nil {
		return err
	}
	m.Data["schema"] = pg.Quote(l.Schema)
	m.Data["literal"] = pg.Literal(pg.Quote(l.Schema))
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	if err := m.LoadMigrations(files); err != nil {
		return err
	}
	return m.Migrate(ctx)
}

// lockKey is the advisory lock under which this ledger is created.
func (l Ledger) lockKey() int64 {
	h := fnv.New64a()
	h.Write([]byte("terraform-provider-postgres/" + l.Schema))
	return int64(h.Sum64()) //nolint:gosec // any 64 bits will do
}

// explain adds the GRANT that is missing when the role may not use the ledger that another role created.
func (l Ledger) explain(err error) error {
	if !pg.IsInsufficientPrivilege(err) {
		return err
	}
	return l.lacksPrivilege("the_role").Because(err)
}

func (l Ledger) lacksPrivilege(role string) *finding.Finding {
	schema := pg.Quote(l.Schema)
	return finding.New(fmt.Sprintf("The role may not use the ledger in schema %s", l.Schema),
		fmt.Sprintf("Another role created it. Its owner can let this role take part:\n\n"+
			"  GRANT USAGE, CREATE ON SCHEMA %s TO %s;\n"+
			"  GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s TO %s;", schema, pg.Quote(role), schema, pg.Quote(role)))
}
