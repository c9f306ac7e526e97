package usage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Effect is what a drop of the columns means for an object.
type Effect string

// The effects.
const (
	// Blocks means that the server refuses to drop the column while the object is there.
	Blocks Effect = "blocks"
	// Dropped means that the server drops the object together with the column, without a word.
	Dropped Effect = "dropped"
	// Mentions means that a function's text has the words. The server knows nothing of such uses; they fail when they run.
	Mentions Effect = "mentions"
)

// Object is something in the catalogs that has to do with the columns.
type Object struct {
	// Type and Identity are as pg_identify_object gives them, except that a view stands for its rule.
	Type, Identity string
	Effect         Effect
	// ReplicaIdentity means that updates of a published table fail without this index.
	ReplicaIdentity bool
}

// String names the object: index public.users_email_idx.
func (o Object) String() string { return o.Type + " " + o.Identity }

// Dependants asks the catalogs what depends on the columns, which are given by their names of now. Columns of partitions are
// found by name, because their numbers may differ.
func Dependants(ctx context.Context, tx pgx.Tx, table *pg.Table, columns []string) ([]Object, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT o.type, o.identity, d.classid::regclass::text,
		       coalesce(k.contype::text, ''),
		       coalesce(k.conrelid = d.refobjid, false),
		       coalesce(x.indisreplident, false)
		  FROM pg_depend d
		  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		 CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) AS o
		  LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
		  LEFT JOIN pg_index x ON d.classid = 'pg_class'::regclass AND x.indexrelid = d.objid
		  LEFT JOIN pg_attrdef v ON d.classid = 'pg_attrdef'::regclass AND v.oid = d.objid
		 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY($1) AND a.attname = ANY($2)
		   -- A column's own default goes with it; the expression of a generated column reads another one. Before version 15
		   -- the generated column itself was recorded, and dropped without a word.
		   AND NOT (v.oid IS NOT NULL AND v.adrelid = a.attrelid AND v.adnum = a.attnum)
		   AND NOT (d.classid = 'pg_class'::regclass AND d.objid = d.refobjid AND d.objsubid = 0)
		 ORDER BY 1, 2`, table.Tree, columns)
	if err != nil {
		return nil, fmt.Errorf("look for what depends on the columns: %w", err)
	}
	var objects []Object
	var o Object
	var catalog, constraint string
	var own bool
	_, err = pgx.ForEachRow(rows, []any{&o.Type, &o.Identity, &catalog, &constraint, &own, &o.ReplicaIdentity}, func() error {
		if catalog == "pg_constraint" && constraint == "n" {
			return nil // A NOT NULL constraint (version 18) is part of the column.
		}
		found := o
		found.Effect = effect(o.Type, catalog, constraint, own)
		if view, isView := strings.CutPrefix(o.Identity, `"_RETURN" on `); isView && catalog == "pg_rewrite" {
			found.Type, found.Identity = "view", view
		}
		objects = append(objects, found)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for what depends on the columns: %w", err)
	}
	return slices.Compact(objects), nil
}

// effect tells what DROP COLUMN without CASCADE does with an object.
func effect(kind, catalog, constraint string, own bool) Effect {
	switch {
	case kind == "table column":
		return Blocks
	case catalog == "pg_constraint" && own && constraint != "p", catalog == "pg_class", catalog == "pg_statistic_ext":
		return Dropped
	}
	return Blocks
}

// Function is a function whose text mentions columns.
type Function struct {
	Schema string
	// Name is as a cast to regprocedure gives it.
	Name string
}

// Functions returns the functions whose text mentions one of the columns together with the table, or that a trigger of the
// table calls.
func Functions(ctx context.Context, tx pgx.Tx, table *pg.Table, columns []string) ([]Function, error) {
	rows, err := tx.Query(ctx, `
		WITH word AS (SELECT '\y' || regexp_replace(w, '([^[:alnum:]_])', '\\\1', 'g') || '\y' AS pattern FROM unnest($2::text[]) AS w),
		     home AS (SELECT '\y' || regexp_replace($3, '([^[:alnum:]_])', '\\\1', 'g') || '\y' AS pattern)
		SELECT n.nspname, p.oid::regprocedure::text
		  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
		 WHERE l.lanname NOT IN ('internal', 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
		   AND EXISTS (SELECT FROM word WHERE p.prosrc ~* word.pattern)
		   AND (EXISTS (SELECT FROM home WHERE p.prosrc ~* home.pattern)
		        OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid AND t.tgrelid = ANY($1)))
		 ORDER BY 2`, table.Tree, columns, table.Name.Name)
	if err != nil {
		return nil, fmt.Errorf("look for functions that mention the columns: %w", err)
	}
	functions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Function])
	if err != nil {
		return nil, fmt.Errorf("look for functions that mention the columns: %w", err)
	}
	return functions, nil
}
