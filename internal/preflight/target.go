package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Server is what the server is.
type Server struct {
	Version  string
	Number   int
	WALLevel string
	// Standby means that nothing can be written here.
	Standby bool
}

// Role is who looks, and what it may do.
type Role struct {
	Name        string
	SessionUser string
	OwnsTable   bool
	MaySelect   bool
	MayUpdate   bool
	// Monitors means that it sees sessions, standbys and statistics of other roles (pg_read_all_stats, which pg_monitor includes).
	Monitors bool
	// MayQuietTriggers means that the user who logged in may set session_replication_role, which batches without triggers need.
	MayQuietTriggers bool
	// RowSecurityApplies means that policies may hide rows of the table from it.
	RowSecurityApplies bool
}

// Relation is what the table is.
type Relation struct {
	Owner string
	// Kind is table, partitioned table or partition.
	Kind        string
	PartitionOf *string
	Inherits    []string
	// Partitions counts the relations below a partitioned table that store rows; Children those that inherit from an ordinary table.
	Partitions, Children int64
	Unlogged             bool
	ColumnSlotsLeft      int64
	PrimaryKey           []string
	// ReplicaIdentity is default, index, full or nothing.
	ReplicaIdentity     string
	RowSecurity         bool
	RowSecurityIsForced bool
}

// target is what the statements of a look depend on.
type target struct {
	oid          uint32
	tree, leaves []uint32
	table        pg.TableName
	role         string
	ledgerSchema string
}

// nameOf is SQL for the name of a relation, whatever the search_path is.
func nameOf(oid string) string {
	return fmt.Sprintf(`(SELECT format('%%I.%%I', nn.nspname, nc.relname) FROM pg_class nc JOIN pg_namespace nn ON nn.oid = nc.relnamespace WHERE nc.oid = %s)`, oid)
}

func (r *Report) readTarget(ctx context.Context, tx pgx.Tx, env *stage.Env) (*target, error) {
	table, err := pg.DescribeTable(ctx, tx, r.Table)
	if err != nil {
		return nil, err
	}
	t := &target{oid: table.OID, table: r.Table, ledgerSchema: env.Ledger.Schema}
	if err := r.readRelation(ctx, tx, t); err != nil {
		return nil, fmt.Errorf("read table %s: %w", r.Table, err)
	}
	if err := r.readRole(ctx, tx, t); err != nil {
		return nil, fmt.Errorf("read what the role may do with %s: %w", r.Table, err)
	}
	return t, nil
}

func (r *Report) readRelation(ctx context.Context, tx pgx.Tx, t *target) error {
	var inherits, partition bool
	var children int64
	err := tx.QueryRow(ctx, `
		WITH RECURSIVE tree(oid) AS (
		  SELECT $1::oid
		  UNION
		  SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
		)
		SELECT array_agg(c.oid ORDER BY c.oid), coalesce(array_agg(c.oid ORDER BY c.oid) FILTER (WHERE c.relkind = 'r'), '{}'),
		       count(*) FILTER (WHERE c.relkind <> 'p' AND c.oid <> $1)
		  FROM tree JOIN pg_class c USING (oid)`, t.oid).Scan(&t.tree, &t.leaves, &children)
	if err != nil {
		return err
	}
	err = tx.QueryRow(ctx, `
		SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_setting('wal_level'), pg_is_in_recovery(),
		       pg_get_userbyid(c.relowner), c.relispartition, c.relkind = 'p', c.relpersistence = 'u',
		       ARRAY(SELECT `+nameOf("i.inhparent")+` FROM pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno),
		       1600 - (SELECT coalesce(max(a.attnum), 0) FROM pg_attribute a WHERE a.attrelid = c.oid),
		       ARRAY(SELECT a.attname::text
		               FROM pg_constraint k CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS u(attnum, place)
		               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
		              WHERE k.conrelid = c.oid AND k.contype = 'p' ORDER BY u.place),
		       CASE c.relreplident WHEN 'd' THEN 'default' WHEN 'i' THEN 'index' WHEN 'f' THEN 'full' ELSE 'nothing' END,
		       c.relrowsecurity, c.relforcerowsecurity
		  FROM pg_class c WHERE c.oid = $1`, t.oid).
		Scan(&r.Server.Version, &r.Server.Number, &r.Server.WALLevel, &r.Server.Standby,
			&r.Owner, &partition, &inherits, &r.Unlogged, &r.Inherits, &r.ColumnSlotsLeft, &r.PrimaryKey, &r.ReplicaIdentity,
			&r.RowSecurity, &r.RowSecurityIsForced)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("it was dropped during the look: %w", pg.ErrNoTable)
	}
	if err != nil {
		return err
	}
	r.Kind = "table"
	if inherits {
		r.Kind, r.Partitions = "partitioned table", children
	} else {
		r.Children = children
	}
	if partition {
		if !inherits {
			r.Kind = "partition"
		}
		if len(r.Inherits) > 0 {
			r.PartitionOf, r.Inherits = &r.Inherits[0], []string{}
		}
	}
	return nil
}

func (r *Report) readRole(ctx context.Context, tx pgx.Tx, t *target) error {
	err := tx.QueryRow(ctx, `
		SELECT current_user, session_user, pg_has_role(c.relowner, 'USAGE'), has_table_privilege(c.oid, 'SELECT'),
		       has_table_privilege(c.oid, 'UPDATE'), pg_has_role('pg_read_all_stats', 'USAGE'), row_security_active(c.oid)
		  FROM pg_class c WHERE c.oid = $1`, t.oid).
		Scan(&r.Role.Name, &r.Role.SessionUser, &r.Role.OwnsTable, &r.Role.MaySelect, &r.Role.MayUpdate, &r.Role.Monitors,
			&r.Role.RowSecurityApplies)
	if err != nil {
		return err
	}
	right, err := pg.MaySet(ctx, tx, "session_replication_role")
	if err != nil {
		return err
	}
	r.Role.MayQuietTriggers = right.Allowed
	t.role = r.Role.Name
	if !r.Role.Monitors {
		r.Unseen = append(r.Unseen, "Age, state and statement of other roles' sessions, the progress of their VACUUM and CREATE INDEX, and how far standbys "+
			"are behind. To let the role see it: "+t.monitorGrant())
	}
	return nil
}

func (t *target) monitorGrant() string {
	return fmt.Sprintf("GRANT pg_monitor TO %s;", pg.Quote(t.role))
}

// serverSays returns the server's own words.
func serverSays(err error) string {
	var e *pgconn.PgError
	var f *finding.Finding
	switch {
	case errors.As(err, &f):
		return lowerFirst(f.Summary)
	case errors.As(err, &e):
		return e.Message
	}
	return err.Error()
}

func lowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}
