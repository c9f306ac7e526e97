package usage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// gaps says in sentences what pg_stat_statements cannot tell on this server, and what would change that.
func (e extension) gaps(ctx context.Context, tx pgx.Tx, t *target) (gaps []string, err error) {
	switch {
	case !e.loaded:
		return []string{"The server does not count statements. To let it: shared_preload_libraries = 'pg_stat_statements', a restart, and " +
			"CREATE EXTENSION pg_stat_statements;"}, nil
	case e.schema == "":
		return []string{"The server counts statements, but this database does not show them. To let it: CREATE EXTENSION pg_stat_statements;"}, nil
	}
	if !e.readsAll {
		gaps = append(gaps, fmt.Sprintf("Role %s sees its own statements only. To let it see those of all roles: GRANT pg_read_all_stats TO %s;",
			e.role, pg.Quote(e.role)))
	}
	if !e.trackUtility {
		gaps = append(gaps, "pg_stat_statements.track_utility is off, so that COPY and cursors are not counted.")
	}
	switch e.track {
	case "all":
	case "none":
		gaps = append(gaps, "pg_stat_statements.track is none, so that nothing is counted.")
	default:
		functions, err := functionsNaming(ctx, tx, t)
		if err != nil {
			return nil, err
		}
		if len(functions) > 0 {
			gaps = append(gaps, fmt.Sprintf("pg_stat_statements.track is %s, so that statements inside functions are not counted. These name the "+
				"table: %s.", e.track, strings.Join(functions, ", ")))
		}
	}
	return gaps, nil
}

// functionsNaming returns some functions whose text names the table.
func functionsNaming(ctx context.Context, tx pgx.Tx, t *target) ([]string, error) {
	rows, err := tx.Query(ctx, `
		SELECT p.oid::regprocedure::text
		  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
		 WHERE l.lanname NOT IN ('internal', 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
		   AND p.prosrc ~* ('\y' || regexp_replace($1, '([^[:alnum:]_])', '\\\1', 'g') || '\y')
		   -- The provider's own function of a sync has one only as an alias.
		   AND strpos(p.prosrc, 'note_writer"(') = 0
		 ORDER BY 1 LIMIT 10`, t.table.Name.Name)
	if err != nil {
		return nil, fmt.Errorf("look for functions that name %s: %w", t.table.Name, err)
	}
	functions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for functions that name %s: %w", t.table.Name, err)
	}
	return functions, nil
}

// isServerError reports whether the server answered, and refused.
func isServerError(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && !pg.IsConnectionLost(err)
}
