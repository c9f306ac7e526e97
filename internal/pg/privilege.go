package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

// RequireOwner returns a finding unless the current role owns the table, which ALTER TABLE asks for.
func RequireOwner(ctx context.Context, tx pgx.Tx, t *Table) error {
	var owner bool
	var role string
	err := tx.QueryRow(ctx, `SELECT pg_has_role($1, 'USAGE'), current_user`, t.Owner).Scan(&owner, &role)
	if err != nil {
		return fmt.Errorf("check the owner of %s: %w", t.Name, err)
	}
	if owner {
		return nil
	}
	return finding.New(fmt.Sprintf("Role %s does not own table %s", quoteIfNeeded(role), t.Name),
		fmt.Sprintf("ALTER TABLE asks for the owner, who is %s. Make the role a member of it, or set role = %q in the "+
			"provider block:\n\n  GRANT %s TO %s;", quoteIfNeeded(t.Owner), t.Owner, Quote(t.Owner), Quote(role))).At("table")
}

// RequireColumns returns a finding unless the current role may do to each column what privilege says (SELECT,
// UPDATE).
func RequireColumns(ctx context.Context, tx pgx.Tx, t *Table, privilege string, columns []string) error {
	rows, err := tx.Query(ctx, `
		SELECT a.attname FROM pg_attribute a
		 WHERE a.attrelid = $1 AND a.attname = ANY($2) AND NOT has_column_privilege(a.attrelid, a.attnum, $3)
		 ORDER BY a.attnum`, t.OID, columns, privilege)
	if err != nil {
		return fmt.Errorf("check privileges on %s: %w", t.Name, err)
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("check privileges on %s: %w", t.Name, err)
	}
	if len(missing) == 0 {
		return nil
	}
	var role string
	if err := tx.QueryRow(ctx, `SELECT current_user`).Scan(&role); err != nil {
		return fmt.Errorf("check privileges on %s: %w", t.Name, err)
	}
	return finding.New(fmt.Sprintf("Role %s lacks %s on %s", quoteIfNeeded(role), privilege, t.Name),
		fmt.Sprintf("It is needed on %s. The owner of the table can give it:\n\n  GRANT %s (%s) ON %s TO %s;",
			QuoteAll(missing), privilege, QuoteAll(missing), t.Name.SQL(), Quote(role))).At("table")
}

// RequireAllRows returns a finding when row-level security would hide rows from the current role: a backfill that
// sees only some rows would call itself complete.
func RequireAllRows(ctx context.Context, tx pgx.Tx, t *Table) error {
	if !t.RowSecurity {
		return nil
	}
	var role string
	if err := tx.QueryRow(ctx, `SELECT current_user`).Scan(&role); err != nil {
		return fmt.Errorf("check row-level security of %s: %w", t.Name, err)
	}
	return finding.New(fmt.Sprintf("Row-level security hides rows of %s from role %s", t.Name, quoteIfNeeded(role)),
		fmt.Sprintf("Policies apply to this role, so it cannot know that every row is done. Use a role that sees all rows: "+
			"the owner of a table without FORCE ROW LEVEL SECURITY, or one with\n\n  ALTER ROLE %s BYPASSRLS;",
			Quote(role))).At("table")
}

// SetRight is whether a role may set a parameter that is for superusers.
type SetRight struct {
	Parameter string
	// Role is the user who logged in: a transaction takes its settings before it takes on the role of the provider block.
	Role    string
	Allowed bool
	// Grantable means that the right can be given, which PostgreSQL 15 brought.
	Grantable bool
}

// MaySet asks whether the user who logged in may set the parameter. Before PostgreSQL 15 that is known of superusers only:
// some hosted services let their administrators do it, which no catalog tells.
func MaySet(ctx context.Context, tx pgx.Tx, parameter string) (SetRight, error) {
	r := SetRight{Parameter: parameter}
	err := tx.QueryRow(ctx, `
		SELECT current_setting('server_version_num')::int >= 150000, session_user,
		       coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = session_user), false)`).Scan(&r.Grantable, &r.Role, &r.Allowed)
	if err == nil && r.Grantable { // The function came with what it asks for.
		err = tx.QueryRow(ctx, `SELECT has_parameter_privilege(session_user, $1, 'SET')`, parameter).Scan(&r.Allowed)
	}
	if err != nil {
		return r, fmt.Errorf("look whether the role may set %s: %w", parameter, err)
	}
	return r, nil
}

// Remedy says how the role gets the right.
func (r SetRight) Remedy() string {
	if !r.Grantable {
		return fmt.Sprintf("Before PostgreSQL 15, %s is for superusers, and for the administrators of some hosted services.", r.Parameter)
	}
	return fmt.Sprintf("A superuser can allow it:\n\n  GRANT SET ON PARAMETER %s TO %s;", r.Parameter, Quote(r.Role))
}
