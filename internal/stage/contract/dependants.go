package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// dependants are the objects that have to do with the columns.
type dependants struct {
	// blocking objects need the column: the server would refuse the drop, or they would go on with stale values.
	blocking []string
	// silent objects are dropped by the server together with the column, without a word.
	silent []string
	// replicaIdentity is an index among the silent ones without which updates of a published table fail.
	replicaIdentity string
}

// readDependants asks the catalogs. Columns of partitions are found by name, because their numbers may differ. The
// column names are those of now.
func readDependants(ctx context.Context, tx pgx.Tx, table *pg.Table, columns []string) (d dependants, err error) {
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
		return d, fmt.Errorf("look for what depends on the columns: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind, identity, catalog, constraint string
		var own, replicaIdentity bool
		if err := rows.Scan(&kind, &identity, &catalog, &constraint, &own, &replicaIdentity); err != nil {
			return d, fmt.Errorf("look for what depends on the columns: %w", err)
		}
		d.add(kind, identity, catalog, constraint, own, replicaIdentity)
	}
	if err := rows.Err(); err != nil {
		return d, fmt.Errorf("look for what depends on the columns: %w", err)
	}
	d.blocking, d.silent = slices.Compact(d.blocking), slices.Compact(d.silent)
	return d, nil
}

// add sorts one object into its list, by what DROP COLUMN without CASCADE does with it.
func (d *dependants) add(kind, identity, catalog, constraint string, own, replicaIdentity bool) {
	name := kind + " " + identity
	switch {
	case catalog == "pg_constraint" && constraint == "n":
		// A NOT NULL constraint (version 18) is part of the column.
	case kind == "table column":
		d.blocking = append(d.blocking, name)
	case catalog == "pg_constraint" && own && constraint != "p", catalog == "pg_class", catalog == "pg_statistic_ext":
		d.silent = append(d.silent, name)
		if replicaIdentity {
			d.replicaIdentity = name
		}
	case catalog == "pg_rewrite":
		if view, isView := strings.CutPrefix(identity, `"_RETURN" on `); isView {
			name = "view " + view
		}
		d.blocking = append(d.blocking, name)
	default:
		d.blocking = append(d.blocking, name)
	}
}

// readFunctions returns the functions whose text mentions one of the columns together with the table, or that a trigger
// of the table calls. The server knows nothing of such uses; they break when they run.
func readFunctions(ctx context.Context, tx pgx.Tx, table *pg.Table, columns []string) ([]string, error) {
	rows, err := tx.Query(ctx, `
		WITH word AS (SELECT '\y' || regexp_replace(w, '([^[:alnum:]_])', '\\\1', 'g') || '\y' AS pattern FROM unnest($2::text[]) AS w),
		     home AS (SELECT '\y' || regexp_replace($3, '([^[:alnum:]_])', '\\\1', 'g') || '\y' AS pattern)
		SELECT p.oid::regprocedure::text
		  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
		 WHERE l.lanname NOT IN ('internal', 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
		   AND EXISTS (SELECT FROM word WHERE p.prosrc ~* word.pattern)
		   AND (EXISTS (SELECT FROM home WHERE p.prosrc ~* home.pattern)
		        OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid AND t.tgrelid = ANY($1)))
		 ORDER BY 1`, table.Tree, columns, table.Name.Name)
	if err != nil {
		return nil, fmt.Errorf("look for functions that mention the columns: %w", err)
	}
	functions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for functions that mention the columns: %w", err)
	}
	return functions, nil
}

// checkKeys refuses columns without which the table is not the same table.
func (s *Spec) checkKeys(table *pg.Table, columns []pg.Column) error {
	var problems []error
	refuse := func(c pg.Column, what, why string) {
		problems = append(problems, finding.New(fmt.Sprintf("Column %s %s", s.Table.Column(c.Name), what), why).At("columns"))
	}
	for _, c := range columns {
		switch {
		case slices.Contains(table.PrimaryKey, c.Attnum):
			refuse(c, "is part of the primary key", "Rows are told apart by it, and foreign keys and replication rest on it. Give the table another "+
				"primary key first.")
		case slices.Contains(table.PartitionKey, c.Attnum):
			refuse(c, "is part of the partition key", "The server places rows by it. Only a new table can be partitioned otherwise.")
		case c.Inherited:
			refuse(c, "is inherited", "It belongs to the parent table. Contract it there.")
		}
	}
	return errors.Join(problems...)
}

// checkDependants refuses while something needs the columns, and when a drop would take along what the user has not
// named.
func (s *Spec) checkDependants(d dependants) error {
	if len(d.blocking) > 0 {
		return finding.New(fmt.Sprintf("Other objects depend on columns of %s", s.describe()),
			fmt.Sprintf("These need %s:\n%s\n\nChange or drop them first. Nothing is dropped with CASCADE.", pg.QuoteAll(s.Columns),
				finding.List(d.blocking))).At("columns")
	}
	if s.Mode != Drop {
		return nil
	}
	if d.replicaIdentity != "" {
		return finding.New(fmt.Sprintf("Column of %s is part of the replica identity", s.describe()),
			fmt.Sprintf("Without the %s, updates and deletes of a published table fail. Choose another replica identity first:\n\n"+
				"  ALTER TABLE %s REPLICA IDENTITY DEFAULT;", d.replicaIdentity, s.Table.SQL())).At("columns")
	}
	unnamed := slices.DeleteFunc(slices.Clone(d.silent), func(name string) bool { return slices.Contains(s.Drops, name) })
	if len(unnamed) == 0 {
		return nil
	}
	quoted := make([]string, len(d.silent))
	for i, name := range d.silent {
		quoted[i] = fmt.Sprintf("  %q,", name)
	}
	return finding.New(fmt.Sprintf("Dropping columns of %s would silently drop other objects", s.describe()),
		fmt.Sprintf("The server drops these together with the column, also when they cover other columns as well:\n%s\n\nIf that is "+
			"meant, name them:\n\n  drops = [\n  %s\n  ]", finding.List(unnamed), strings.Join(quoted, "\n  "))).At("drops")
}

func (s *Spec) checkFunctions(functions []string) error {
	open := slices.DeleteFunc(slices.Clone(functions), func(name string) bool { return slices.Contains(s.IgnoreFunctions, name) })
	if len(open) == 0 {
		return nil
	}
	quoted := make([]string, len(functions))
	for i, name := range functions {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return finding.New(fmt.Sprintf("Functions mention columns of %s", s.describe()),
		fmt.Sprintf("The text of these functions has the words %s and %s. The server does not know what a function's text needs; it would "+
			"fail when it runs:\n%s\n\nChange them first, or say that they do not need the column:\n\n  ignore_functions = [%s]",
			pg.QuoteAll(s.Columns), pg.Quote(s.Table.Name), finding.List(open), strings.Join(quoted, ", "))).At("ignore_functions")
}
