package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

// Table is what the catalogs say of a table at one moment.
type Table struct {
	Name  TableName
	OID   uint32
	Owner string
	// Partitioned means that the table itself stores no rows.
	Partitioned bool
	// PartitionOf is the parent of a partition, for people.
	PartitionOf string
	// Root is the OID of the topmost partitioned table; the table's own when it is no partition.
	Root uint32
	// EstimatedRows is the planner's estimate over all leaves; negative when it was never analyzed.
	EstimatedRows float64
	// Bytes is the size of all leaves with TOAST and without indexes.
	Bytes int64
	// Columns holds the live columns in order of their numbers.
	Columns []Column
	// MaxAttnum counts the columns that ever were, dropped ones included.
	MaxAttnum int16
	// PrimaryKey and PartitionKey hold column numbers.
	PrimaryKey   []int16
	PartitionKey []int16
	// RowSecurity means that policies apply to the current role.
	RowSecurity bool
	// Leaves are the relations that store rows: the table itself, its partitions, its inheritance children.
	Leaves []Leaf
	// Tree holds the OIDs of the table and all its descendants: what a lock on it takes.
	Tree []uint32
}

// Leaf is a relation that stores rows.
type Leaf struct {
	OID  uint32
	Name TableName
	// Filenode changes whenever the relation is rewritten or truncated, after which no row is where it was.
	Filenode uint32
	Pages    int64
}

// Column is a live column.
type Column struct {
	Attnum    int16
	Name      string
	Type      Type
	NotNull   bool
	Default   string // the expression, or ""
	Identity  bool
	Generated bool
	Inherited bool
}

// Type is a data type as the server resolved it.
type Type struct {
	OID    uint32
	Typmod int32
	// SQL is the name as format_type gives it: character varying(20).
	SQL string
}

// Equal reports whether the types are the same, type modifier included.
func (t Type) Equal(other Type) bool { return t.OID == other.OID && t.Typmod == other.Typmod }

// Column returns the column of that name.
func (t *Table) Column(name string) (Column, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return t.Columns[i], true
}

// ColumnByNumber returns the column of that number, whatever its name is now.
func (t *Table) ColumnByNumber(attnum int16) (Column, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Attnum == attnum })
	if i < 0 {
		return Column{}, false
	}
	return t.Columns[i], true
}

// Pages is the number of heap pages over all leaves.
func (t *Table) Pages() (pages int64) {
	for _, l := range t.Leaves {
		pages += l.Pages
	}
	return pages
}

// ErrNoTable is the cause of a finding that says that a table does not exist.
var ErrNoTable = errors.New("no such table")

// ReadTable reads a table by name, with its size. It returns a finding when there is none, or when it is not a kind of
// relation that can be changed in stages. The server locks what it measures (ACCESS SHARE), so that it waits for somebody who
// changes the table.
func ReadTable(ctx context.Context, tx pgx.Tx, name TableName) (*Table, error) {
	t, err := DescribeTable(ctx, tx, name)
	if err != nil {
		return nil, err
	}
	return t, t.measure(ctx, tx)
}

// DescribeTable is ReadTable without the sizes. It reads nothing but the catalogs, and so answers also while somebody holds
// ACCESS EXCLUSIVE on the table.
func DescribeTable(ctx context.Context, tx pgx.Tx, name TableName) (*Table, error) {
	t := &Table{Name: name}
	var kind, persistence string
	var citus bool
	err := tx.QueryRow(ctx, `
		SELECT c.oid, c.relkind::text, c.relpersistence::text, pg_get_userbyid(c.relowner), c.relkind = 'p',
		       coalesce((SELECT i.inhparent::regclass::text FROM pg_inherits i WHERE c.relispartition AND i.inhrelid = c.oid), ''),
		       coalesce(pg_partition_root(c.oid)::oid, c.oid),
		       (SELECT coalesce(max(a.attnum), 0) FROM pg_attribute a WHERE a.attrelid = c.oid),
		       coalesce((SELECT k.conkey FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p'), '{}'),
		       coalesce((SELECT p.partattrs::int2[] FROM pg_partitioned_table p WHERE p.partrelid = c.oid), '{}'),
		       row_security_active(c.oid), to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = $1 AND c.relname = $2`, name.Schema, name.Name).
		Scan(&t.OID, &kind, &persistence, &t.Owner, &t.Partitioned, &t.PartitionOf, &t.Root, &t.MaxAttnum, &t.PrimaryKey,
			&t.PartitionKey, &t.RowSecurity, &citus)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, unknownTable(ctx, tx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", name, err)
	}
	if f := unsuitable(name, kind, persistence); f != nil {
		return nil, f
	}
	if err := t.readColumns(ctx, tx); err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", name, err)
	}
	if err := t.readTree(ctx, tx); err != nil {
		return nil, err
	}
	if citus {
		if err := refuseDistributed(ctx, tx, t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// readColumns asks for defaults without naming the table, which pg_get_expr would lock; a default refers to no column.
func (t *Table) readColumns(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		SELECT a.attnum, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull,
		       CASE WHEN a.attgenerated = '' THEN coalesce(pg_get_expr(d.adbin, 0), '') ELSE '' END,
		       a.attidentity <> '', a.attgenerated <> '', a.attinhcount > 0
		  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
		 ORDER BY a.attnum`, t.OID)
	if err != nil {
		return err
	}
	t.Columns, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Column, err error) {
		err = row.Scan(&c.Attnum, &c.Name, &c.Type.OID, &c.Type.Typmod, &c.Type.SQL, &c.NotNull, &c.Default,
			&c.Identity, &c.Generated, &c.Inherited)
		return c, err
	})
	return err
}

// readTree reads the table's descendants.
func (t *Table) readTree(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE tree(oid) AS (
		  SELECT $1::oid
		  UNION
		  SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
		)
		SELECT c.oid, n.nspname, c.relname, c.relkind::text,
		       coalesce(pg_relation_filenode(c.oid), 0), c.reltuples
		  FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
		 ORDER BY c.oid`, t.OID)
	if err != nil {
		return fmt.Errorf("read the partitions of %s: %w", t.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var leaf Leaf
		var kind string
		var tuples float64
		if err := rows.Scan(&leaf.OID, &leaf.Name.Schema, &leaf.Name.Name, &kind, &leaf.Filenode, &tuples); err != nil {
			return fmt.Errorf("read the partitions of %s: %w", t.Name, err)
		}
		t.Tree = append(t.Tree, leaf.OID)
		switch kind {
		case "r":
			t.Leaves = append(t.Leaves, leaf)
			if t.EstimatedRows >= 0 && tuples >= 0 {
				t.EstimatedRows += tuples
			} else {
				t.EstimatedRows = -1
			}
		case "f":
			return finding.New(fmt.Sprintf("Table %s has the foreign partition %s", t.Name, leaf.Name),
				"Rows of a foreign table live on another server, where this provider can neither lock nor batch them.\n\n"+
					"Detach the foreign partition first.").At("table")
		}
	}
	return rows.Err()
}

// measure reads the sizes of the leaves. Pages are those of the file, not pg_class.relpages, which is as old as the last vacuum.
func (t *Table) measure(ctx context.Context, tx pgx.Tx) error {
	oids := make([]uint32, len(t.Leaves))
	for i, leaf := range t.Leaves {
		oids[i] = leaf.OID
	}
	rows, err := tx.Query(ctx, `
		SELECT coalesce(pg_relation_size(leaf.oid) / current_setting('block_size')::bigint, 0), coalesce(pg_table_size(leaf.oid), 0)
		  FROM unnest($1::oid[]) WITH ORDINALITY AS leaf(oid, position)
		 ORDER BY leaf.position`, oids)
	if err != nil {
		return fmt.Errorf("measure %s: %w", t.Name, err)
	}
	defer rows.Close()
	for i := 0; rows.Next(); i++ {
		var bytes int64
		if err := rows.Scan(&t.Leaves[i].Pages, &bytes); err != nil {
			return fmt.Errorf("measure %s: %w", t.Name, err)
		}
		t.Bytes += bytes
	}
	return rows.Err()
}

// unsuitable says why a relation cannot be changed in stages, or returns nil.
func unsuitable(name TableName, kind, persistence string) error {
	refuse := func(what, why string) error {
		return finding.New(fmt.Sprintf("%s is %s, not a table", name, what), why).At("table")
	}
	switch kind {
	case "r", "p":
	case "v":
		return refuse("a view", "Columns belong to tables. Name the table under the view.")
	case "m":
		return refuse("a materialized view", "Its columns come from its query. Name the table under it.")
	case "f":
		return refuse("a foreign table", "Its rows live on another server. Change the table there.")
	case "S":
		return refuse("a sequence", "Name a table.")
	default:
		return refuse("another kind of relation", "Name a table.")
	}
	if persistence == "t" {
		return finding.New(fmt.Sprintf("Table %s is temporary", name),
			"A temporary table belongs to one session; no other session can change it.").At("table")
	}
	return nil
}

func unknownTable(ctx context.Context, tx pgx.Tx, name TableName) error {
	f := finding.New(fmt.Sprintf("Table %s does not exist", name), "").At("table").Because(ErrNoTable)
	var elsewhere []string
	rows, err := tx.Query(ctx, `
		SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE c.relkind IN ('r', 'p') AND lower(c.relname) = lower($1)
		   AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
		 ORDER BY 1 LIMIT 5`, name.Name)
	if err == nil {
		elsewhere, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return fmt.Errorf("look for table %s: %w", name, err)
	}
	f.Detail = "The database has no table of that name in that schema. Names are compared exactly, upper and lower " +
		"case included."
	if len(elsewhere) > 0 {
		f.Detail += "\n\nTables of a similar name:\n" + finding.List(elsewhere)
	}
	return f
}

// refuseDistributed refuses tables whose rows Citus keeps on other nodes.
func refuseDistributed(ctx context.Context, tx pgx.Tx, t *Table) error {
	var distributed bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition WHERE logicalrelid = $1)`, t.OID).
		Scan(&distributed)
	if err != nil {
		return fmt.Errorf("look for distributed tables: %w", err)
	}
	if distributed {
		return finding.New(fmt.Sprintf("Table %s is distributed by Citus", t.Name),
			"Its rows live on worker nodes, where row locks, triggers and physical row addresses follow other rules. "+
				"Only tables that are local to the coordinator are supported.").At("table")
	}
	return nil
}

// CurrentName returns the present name of the table with that OID, or ok = false when it is gone.
func CurrentName(ctx context.Context, tx pgx.Tx, oid uint32) (name TableName, ok bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE c.oid = $1 AND c.relkind IN ('r', 'p')`, oid).Scan(&name.Schema, &name.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return name, false, nil
	}
	return name, err == nil, err
}

// IsGone reports whether the table with that OID was dropped. An error of the look-up counts as not gone, so that
// nothing is forgotten by mistake.
func IsGone(ctx context.Context, tx pgx.Tx, oid uint32) bool {
	_, exists, err := CurrentName(ctx, tx, oid)
	return err == nil && !exists
}
