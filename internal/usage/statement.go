package usage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Statement is a normalized statement that the server has counted (pg_stat_statements).
type Statement struct {
	Query   string
	QueryID int64
	Role    string
	RoleOID uint32
	// Certain means that the server itself resolved the names. Reads and Writes are then the columns that it uses, by the names
	// that were asked about.
	Certain       bool
	Reads, Writes []string
	Calls         int64
	// CallsSince are the calls since the last stored look; nil when there is none.
	CallsSince *int64
	// ChangedAt is when a look first found this number of calls: it ran last before that. It is the time of this look when
	// nothing was stored before.
	ChangedAt time.Time

	shape shape
}

// maxStatements bounds a look. Those that mention a column come first, then those with the most calls.
const maxStatements = 500

// extension is what there is of pg_stat_statements.
type extension struct {
	loaded bool
	// schema is empty when the extension was not created.
	schema string
	// hasInfo means that it tells since when it counts.
	hasInfo      bool
	readsAll     bool
	track        string
	trackUtility bool
	role         string
}

func readExtension(ctx context.Context, tx pgx.Tx) (e extension, err error) {
	err = tx.QueryRow(ctx, `
		SELECT current_setting('pg_stat_statements.max', true) IS NOT NULL,
		       coalesce((SELECT n.nspname FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
		                  WHERE x.extname = 'pg_stat_statements'), ''),
		       EXISTS (SELECT FROM pg_extension x JOIN pg_class c ON c.relnamespace = x.extnamespace
		                WHERE x.extname = 'pg_stat_statements' AND c.relname = 'pg_stat_statements_info'),
		       pg_has_role('pg_read_all_stats', 'USAGE'),
		       coalesce(current_setting('pg_stat_statements.track', true), ''),
		       coalesce(current_setting('pg_stat_statements.track_utility', true), 'on') = 'on',
		       current_user`).Scan(&e.loaded, &e.schema, &e.hasInfo, &e.readsAll, &e.track, &e.trackUtility, &e.role)
	if err != nil {
		return e, fmt.Errorf("look for pg_stat_statements: %w", err)
	}
	return e, nil
}

func (e extension) view(name string) string { return pg.TableName{Schema: e.schema, Name: name}.SQL() }

// readStatements returns the statements that name the table, a relative of it or a view on it, and notes what it cannot see.
func (r *Report) readStatements(ctx context.Context, tx pgx.Tx, t *target) ([]Statement, error) {
	e, err := readExtension(ctx, tx)
	if err != nil {
		return nil, err
	}
	if r.Coverage, err = e.gaps(ctx, tx, t); err != nil || !e.loaded || e.schema == "" {
		return nil, err
	}
	var found []Statement
	err = pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) (err error) {
		if found, err = e.statements(ctx, savepoint, t); err != nil {
			return err
		}
		return r.readCounters(ctx, savepoint, e)
	})
	if isServerError(err) {
		r.Coverage = append(r.Coverage, fmt.Sprintf("pg_stat_statements cannot be read: %v.", err))
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pg_stat_statements: %w", err)
	}
	if len(found) > maxStatements {
		found = found[:maxStatements]
		r.Coverage = append(r.Coverage, fmt.Sprintf("More than %d statements name the table; only the most frequent were looked at.", maxStatements))
	}
	return slices.DeleteFunc(found, func(s Statement) bool { return !s.shape.relevant || s.isOwn(e.role) }), nil
}

func (e extension) statements(ctx context.Context, tx pgx.Tx, t *target) ([]Statement, error) {
	rows, err := tx.Query(ctx, `
		SELECT s.query, s.queryid, coalesce(u.rolname, s.userid::text), s.userid, s.calls
		  FROM (SELECT min(query) AS query, queryid, userid, sum(calls)::bigint AS calls
		          FROM `+e.view("pg_stat_statements")+`
		         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND calls > 0 AND queryid IS NOT NULL
		         GROUP BY queryid, userid) AS s
		  LEFT JOIN pg_roles u ON u.oid = s.userid
		 WHERE EXISTS (SELECT FROM unnest($1::text[]) AS name WHERE strpos(lower(s.query), lower(name)) > 0)
		 ORDER BY EXISTS (SELECT FROM unnest($2::text[]) AS name WHERE strpos(lower(s.query), lower(name)) > 0) DESC, s.calls DESC
		 LIMIT $3`, inText(t.relationNames()), inText(t.columnNames()), maxStatements+1)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Statement, err error) {
		err = row.Scan(&s.Query, &s.QueryID, &s.Role, &s.RoleOID, &s.Calls)
		s.shape = readShape(s.Query)
		return s, err
	})
}

// readCounters reads since when the server counts, and whether it has forgotten statements.
func (r *Report) readCounters(ctx context.Context, tx pgx.Tx, e extension) error {
	if !e.hasInfo {
		r.Coverage = append(r.Coverage, "This version of the extension does not tell whether statements were forgotten. ALTER EXTENSION pg_stat_statements "+
			"UPDATE; brings the current one.")
		return nil
	}
	var forgotten int64
	err := tx.QueryRow(ctx, `SELECT dealloc, stats_reset FROM `+e.view("pg_stat_statements_info")).Scan(&forgotten, &r.CountedSince)
	if err == nil && forgotten > 0 {
		r.Coverage = append(r.Coverage, "The server has forgotten rare statements for lack of room. A larger pg_stat_statements.max keeps more.")
	}
	return err
}

// isOwn reports whether the statement is one that this provider runs itself.
func (s *Statement) isOwn(role string) bool {
	inTrigger := strings.Contains(s.Query, "FROM (SELECT NEW.*) AS ") || strings.Contains(s.Query, "FROM (SELECT OLD.*) AS ")
	if s.Role != role {
		return inTrigger
	}
	backfills := strings.HasPrefix(s.Query, "UPDATE ONLY ") && strings.Contains(s.Query, ".ctid ")
	proves := strings.HasPrefix(s.Query, "SELECT ") && strings.Contains(s.Query, ".ctid::text, ARRAY[")
	counts := strings.HasPrefix(s.Query, "SELECT count(*), count(*) FILTER (WHERE ")
	tries := counts && strings.Contains(s.Query, "WHERE num_nulls(")
	samples := counts && strings.Contains(s.Query, "ctid >= $1::tid AND ")
	return inTrigger || backfills || proves || tries || samples
}

// relationNames are the names of one of which a statement must have in its text.
func (t *target) relationNames() (names []string) {
	for _, relation := range t.relations {
		names = append(names, relation.name)
	}
	return names
}

// columnNames are the names under which the columns were and are known.
func (t *target) columnNames() (names []string) {
	for _, c := range t.columns {
		names = append(names, c.name)
		if c.present != "" && c.present != c.name {
			names = append(names, c.present)
		}
	}
	return names
}

// inText returns the names as they are spelled inside double quotes.
func inText(names []string) []string {
	spelled := make([]string, len(names))
	for i, name := range names {
		spelled[i] = strings.ReplaceAll(name, `"`, `""`)
	}
	return spelled
}
