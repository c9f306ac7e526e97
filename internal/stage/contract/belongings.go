package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// belonging is an object that the server drops together with a column.
type belonging struct {
	// Kind is index, unique, check, foreign key, exclude or statistics.
	Kind string
	// Table is the relation that it belongs to: the table, or a partition of it.
	Table pg.TableName
	Name  string
	// Definition is the clause of a constraint, or the whole statement of extended statistics.
	Definition string
	// Unique and Method are what is before and after the names in the statement of an index.
	Unique bool
	Method string
	// Partitions holds the names of an index's parts, by the OIDs of the partitions.
	Partitions map[uint32]string
	// References is the table of a foreign key's other side.
	References uint32
	Comment    string
	// Late means that it came while the columns were in quarantine, so that its definition has their names of that time.
	Late bool
}

// same reports whether both are the same object. Its OID may have changed since, as REINDEX CONCURRENTLY does.
func (b *belonging) same(other belonging) bool {
	return b.Kind == other.Kind && b.Table == other.Table && b.Name == other.Name
}

// String names the object for people.
func (b *belonging) String() string {
	name := strings.TrimPrefix(b.Table.Column(b.Name), b.Table.String()+".")
	return fmt.Sprintf("%s %s of %s", b.Kind, name, b.Table)
}

// readBelongings returns what goes with the columns, which have these names now. The search path must be the safe one, so
// that all names in the definitions are qualified.
func readBelongings(ctx context.Context, tx pgx.Tx, table *pg.Table, columns []string) (all []belonging, err error) {
	for _, query := range []string{indexesQuery, constraintsQuery, statisticsQuery} {
		rows, err := tx.Query(ctx, query, table.Tree, columns)
		if err != nil {
			return nil, fmt.Errorf("read what goes with the columns: %w", err)
		}
		found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (b belonging, err error) {
			err = row.Scan(&b.Kind, &b.Table.Schema, &b.Table.Name, &b.Name, &b.Definition, &b.Unique, &b.Method, &b.Partitions, &b.References,
				&b.Comment)
			return b, err
		})
		if err != nil {
			return nil, fmt.Errorf("read what goes with the columns: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// reconcile brings what was recorded in line with what is there when the columns are dropped.
func reconcile(recorded, present []belonging) (kept []belonging) {
	for _, b := range recorded {
		if slices.ContainsFunc(present, b.same) {
			kept = append(kept, b)
		}
	}
	for _, b := range present {
		if !slices.ContainsFunc(recorded, b.same) {
			b.Late = true
			kept = append(kept, b)
		}
	}
	return kept
}

const (
	// method is what follows the name of the table in the definition of the index i, with its own class c and the class
	// r and the schema n of its table.
	method = `substr(pg_get_indexdef(i.indexrelid), 1 + length('CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX '
		         || quote_ident(c.relname) || ' ON ' || CASE WHEN c.relkind = 'I' THEN 'ONLY ' ELSE '' END
		         || quote_ident(n.nspname) || '.' || quote_ident(r.relname) || ' '))`
	partitions = `coalesce((SELECT jsonb_object_agg(part.indrelid, pc.relname)
		                     FROM pg_partition_tree(i.indexrelid) AS t JOIN pg_index part ON part.indexrelid = t.relid JOIN pg_class pc ON pc.oid = t.relid
		                    WHERE t.isleaf AND c.relkind = 'I'), '{}')`
	needsColumn = `EXISTS (SELECT FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		                WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY($1) AND a.attname = ANY($2)
		                  AND d.classid = '%s'::regclass AND d.objid = %s)`
)

var (
	indexesQuery = `
		SELECT 'index', n.nspname, r.relname, c.relname, '', i.indisunique, ` + method + `, ` + partitions + `, 0::oid,
		       coalesce(obj_description(i.indexrelid, 'pg_class'), '')
		  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class r ON r.oid = i.indrelid JOIN pg_namespace n ON n.oid = r.relnamespace
		 WHERE ` + fmt.Sprintf(needsColumn, "pg_class", "i.indexrelid") + `
		   AND i.indisvalid AND NOT c.relispartition
		   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
		 ORDER BY i.indexrelid`
	constraintsQuery = `
		SELECT CASE WHEN k.contype = 'u' AND pg_get_constraintdef(k.oid) NOT LIKE '%WITHOUT OVERLAPS%' THEN 'unique'
		            WHEN k.contype = 'c' THEN 'check' WHEN k.contype = 'f' THEN 'foreign key' ELSE 'exclude' END,
		       n.nspname, r.relname, k.conname, pg_get_constraintdef(k.oid), coalesce(i.indisunique, false),
		       coalesce(` + method + `, ''), CASE WHEN i.indexrelid IS NULL THEN '{}'::jsonb ELSE ` + partitions + ` END, k.confrelid,
		       coalesce(obj_description(k.oid, 'pg_constraint'), '')
		  FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid JOIN pg_namespace n ON n.oid = r.relnamespace
		  LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('u', 'x') LEFT JOIN pg_class c ON c.oid = i.indexrelid
		 WHERE k.conrelid = ANY($1) AND k.contype IN ('u', 'c', 'f', 'x') AND k.conparentid = 0 AND (k.contype <> 'c' OR k.conislocal)
		   AND ` + fmt.Sprintf(needsColumn, "pg_constraint", "k.oid") + `
		 ORDER BY k.oid`
	statisticsQuery = `
		SELECT 'statistics', n.nspname, r.relname, s.stxname, pg_get_statisticsobjdef(s.oid), false, '', '{}'::jsonb, 0::oid,
		       coalesce(obj_description(s.oid, 'pg_statistic_ext'), '')
		  FROM pg_statistic_ext s JOIN pg_class r ON r.oid = s.stxrelid JOIN pg_namespace n ON n.oid = r.relnamespace
		 WHERE ` + fmt.Sprintf(needsColumn, "pg_statistic_ext", "s.oid") + `
		 ORDER BY s.oid`
)
