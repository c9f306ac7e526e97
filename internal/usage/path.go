package usage

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// readPaths returns the search path in which the statements of each role are resolved: the one that the server is configured
// to give the role in this database, with the table's schema in front if it is not on it. What a session sets for itself is
// not known.
func readPaths(ctx context.Context, tx pgx.Tx, schema string, statements []Statement) (map[string]string, error) {
	oids := make(map[uint32]string)
	for _, s := range statements {
		oids[s.RoleOID] = s.Role
	}
	paths := make(map[string]string)
	for oid, role := range oids {
		var path string
		err := tx.QueryRow(ctx, `
			SELECT coalesce(
			  (SELECT substr(c.setting, length('search_path=') + 1)
			     FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS c(setting)
			    WHERE s.setrole IN ($1, 0) AND s.setdatabase IN ((SELECT oid FROM pg_database WHERE datname = current_database()), 0)
			      AND starts_with(c.setting, 'search_path=')
			    ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1),
			  (SELECT reset_val FROM pg_settings WHERE name = 'search_path'))`, oid).Scan(&path)
		if err != nil {
			return nil, fmt.Errorf("read the search path of %s: %w", role, err)
		}
		path = strings.ReplaceAll(path, `"$user"`, pg.Quote(role))
		on := false
		err = discard(ctx, tx, func() error {
			if err := exec(ctx, tx, `SELECT pg_catalog.set_config('search_path', $1, true)`, path); err != nil {
				return err
			}
			return tx.QueryRow(ctx, `SELECT $1::text OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(false)::text[])`, schema).Scan(&on)
		})
		if err != nil {
			return nil, err
		}
		if !on {
			path = strings.TrimSuffix(pg.Quote(schema)+", "+path, ", ")
		}
		paths[role] = path
	}
	return paths, nil
}
