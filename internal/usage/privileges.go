package usage

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Privilege is the right of a role to use a column.
type Privilege struct {
	// Role is PUBLIC for everybody.
	Role      string
	Privilege string
	// Column is empty for a privilege on the whole table.
	Column string
}

// readPrivileges reads who besides the owner may use the columns. Superusers, and members of roles such as
// pg_read_all_data, need no privilege and are not among them.
func readPrivileges(ctx context.Context, tx pgx.Tx, t *target) ([]Privilege, error) {
	rows, err := tx.Query(ctx, `
		SELECT CASE WHEN granted.grantee = 0 THEN 'PUBLIC' ELSE coalesce(r.rolname, granted.grantee::text) END,
		       granted.privilege_type, granted.attname
		  FROM pg_class c
		 CROSS JOIN LATERAL (
		       SELECT x.grantee, x.privilege_type, '' AS attname FROM aclexplode(c.relacl) AS x
		       UNION
		       SELECT x.grantee, x.privilege_type, a.attname
		         FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) AS x
		        WHERE a.attrelid = c.oid AND a.attname = ANY($2)) AS granted
		  LEFT JOIN pg_roles r ON r.oid = granted.grantee
		 WHERE c.oid = $1 AND granted.grantee <> c.relowner
		   AND granted.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
		 ORDER BY 1, 3, 2`, t.table.OID, t.presentNames())
	if err != nil {
		return nil, fmt.Errorf("read the privileges on %s: %w", t.table.Name, err)
	}
	privileges, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Privilege])
	if err != nil {
		return nil, fmt.Errorf("read the privileges on %s: %w", t.table.Name, err)
	}
	return privileges, nil
}
