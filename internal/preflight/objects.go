package preflight

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

// Index is an index of the table. Of a partitioned one, bytes and scans are those of the indexes of all partitions.
type Index struct {
	Name string
	// Definition is nil while the table is locked.
	Definition *string
	Unique     bool
	Primary    bool
	// Valid means that queries can use it: it was built completely.
	Valid bool
	Bytes int64
	Scans int64
}

// Constraint is a constraint of the table that is no foreign key.
type Constraint struct {
	Name       string
	Type       string
	Validated  bool
	Definition string
}

// ForeignKey is a foreign key between the table and another one.
type ForeignKey struct {
	Name string
	// Table is the other table.
	Table      string
	Validated  bool
	Definition string
}

// Trigger is a trigger that somebody made.
type Trigger struct {
	Name     string
	Function string
	// Enabled is origin, always, replica or disabled.
	Enabled    string
	Definition string
	// Managed means that it belongs to a sync of this provider.
	Managed bool
}

// Fires reports whether ordinary sessions fire it.
func (t Trigger) Fires() bool { return t.Enabled == "origin" || t.Enabled == "always" }

// Policy is a policy of row-level security.
type Policy struct {
	Name       string
	Command    string
	Permissive bool
	Roles      []string
	Using      *string
	Check      *string
}

// Dependant is a view, materialized view or function that uses the table.
type Dependant struct {
	Type     string
	Identity string
}

// Stage is a stage that the ledger has recorded for the table.
type Stage struct {
	Type    string
	ID      string
	Status  string
	Retired bool
}

func collect[T any](ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// readIndexes takes sizes from pg_class, as old as the last vacuum, because those of the files would wait for whoever builds
// the index anew.
func (r *Report) readIndexes(ctx context.Context, tx pgx.Tx, t *target) error {
	return r.unlessLocked(ctx, tx, "Definitions of indexes", func(tx pgx.Tx, locked bool) (err error) {
		r.Indexes, err = collect[Index](ctx, tx, `
			WITH RECURSIVE tree(root, oid) AS (
			  SELECT i.indexrelid, i.indexrelid FROM pg_index i WHERE i.indrelid = $1
			  UNION
			  SELECT tree.root, h.inhrelid FROM tree JOIN pg_inherits h ON h.inhparent = tree.oid
			)
			SELECT n.relname, `+orNull("pg_get_indexdef(i.indexrelid)", locked)+`, i.indisunique, i.indisprimary, i.indisvalid AND i.indisready,
			       (SELECT coalesce(sum(c.relpages), 0) * current_setting('block_size')::bigint FROM tree JOIN pg_class c USING (oid) WHERE tree.root = i.indexrelid)::bigint,
			       (SELECT coalesce(sum(pg_stat_get_numscans(tree.oid)), 0) FROM tree WHERE tree.root = i.indexrelid)::bigint
			  FROM pg_index i JOIN pg_class n ON n.oid = i.indexrelid
			 WHERE i.indrelid = $1
			 ORDER BY 1`, t.oid)
		return err
	})
}

// readConstraints leaves out NOT NULL (version 18) unless it is not validated: columns show it.
func (r *Report) readConstraints(ctx context.Context, tx pgx.Tx, t *target) (err error) {
	r.Constraints, err = collect[Constraint](ctx, tx, `
		SELECT k.conname, CASE k.contype WHEN 'c' THEN 'check' WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'x' THEN 'exclude'
		                                 WHEN 'n' THEN 'not null' WHEN 't' THEN 'trigger' ELSE k.contype::text END,
		       k.convalidated, pg_get_constraintdef(k.oid)
		  FROM pg_constraint k
		 WHERE k.conrelid = $1 AND k.contype <> 'f' AND NOT (k.contype = 'n' AND k.convalidated)
		 ORDER BY 1`, t.oid)
	return err
}

// readForeignKeys leaves out the copies that partitions have.
func (r *Report) readForeignKeys(ctx context.Context, tx pgx.Tx, t *target) (err error) {
	read := func(other, own string) ([]ForeignKey, error) {
		return collect[ForeignKey](ctx, tx, fmt.Sprintf(`
			SELECT k.conname, %s, k.convalidated, pg_get_constraintdef(k.oid)
			  FROM pg_constraint k
			 WHERE k.contype = 'f' AND k.%s = $1
			   AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = k.conparentid AND p.%[2]s = $1)
			 ORDER BY 2, 1`, nameOf("k."+other), own), t.oid)
	}
	if r.ForeignKeys, err = read("confrelid", "conrelid"); err == nil {
		r.ReferencedBy, err = read("conrelid", "confrelid")
	}
	return err
}

func (r *Report) readTriggers(ctx context.Context, tx pgx.Tx, t *target) (err error) {
	r.Triggers, err = collect[Trigger](ctx, tx, `
		SELECT g.tgname, format('%I.%I', n.nspname, p.proname),
		       CASE g.tgenabled WHEN 'O' THEN 'origin' WHEN 'A' THEN 'always' WHEN 'R' THEN 'replica' ELSE 'disabled' END,
		       pg_get_triggerdef(g.oid), n.nspname = $2
		  FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
		  LEFT JOIN pg_constraint c ON c.oid = g.tgconstraint
		 -- Those of foreign keys and deferrable constraints are the server's own. Before version 15, clones count as internal too.
		 WHERE g.tgrelid = ANY($1) AND coalesce(c.contype, 't') = 't'
		   -- Partitions have clones of the triggers of their parent.
		   AND NOT EXISTS (SELECT FROM pg_trigger above WHERE above.oid = g.tgparentid AND above.tgrelid = ANY($1))
		 ORDER BY 1, 4`, t.tree, t.ledgerSchema)
	return err
}

func (r *Report) readPolicies(ctx context.Context, tx pgx.Tx, t *target) error {
	return r.unlessLocked(ctx, tx, "Expressions of policies", func(tx pgx.Tx, locked bool) (err error) {
		r.Policies, err = collect[Policy](ctx, tx, `
			SELECT p.polname, CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
			       p.polpermissive,
			       ARRAY(SELECT CASE u.oid WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(u.oid)::text END FROM unnest(p.polroles) AS u(oid) ORDER BY 1),
			       `+orNull("pg_get_expr(p.polqual, p.polrelid)", locked)+`, `+orNull("pg_get_expr(p.polwithcheck, p.polrelid)", locked)+`
			  FROM pg_policy p WHERE p.polrelid = $1 ORDER BY 1`, t.oid)
		return err
	})
}

// readDependants finds views through their rules, and functions by the words in their text.
func (r *Report) readDependants(ctx context.Context, tx pgx.Tx, t *target) (err error) {
	r.Dependants, err = collect[Dependant](ctx, tx, `
		SELECT DISTINCT CASE v.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, `+nameOf("v.oid")+`
		  FROM pg_depend d
		  JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
		  JOIN pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm')
		 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY($1)
		 ORDER BY 1, 2`, t.tree)
	if err != nil {
		return err
	}
	functions, err := usage.Functions(ctx, tx, &pg.Table{Name: t.table, OID: t.oid, Tree: t.tree}, []string{t.table.Name})
	for _, f := range functions {
		if f.Schema != t.ledgerSchema {
			r.Dependants = append(r.Dependants, Dependant{"function", f.Name})
		}
	}
	return err
}

func (r *Report) readStages(ctx context.Context, tx pgx.Tx, env *stage.Env, t *target) error {
	var visible bool
	err := tx.QueryRow(ctx, `SELECT coalesce((SELECT has_schema_privilege(n.oid, 'USAGE') FROM pg_namespace n WHERE n.nspname = $1), true)`,
		t.ledgerSchema).Scan(&visible)
	if err != nil {
		return err
	}
	if visible {
		// The table is missing when nothing was ever applied.
		err = tx.QueryRow(ctx, `
			SELECT coalesce((SELECT has_table_privilege(c.oid, 'SELECT') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			                  WHERE n.nspname = $1 AND c.relname = 'stage'), true)`, t.ledgerSchema).Scan(&visible)
		if err != nil {
			return err
		}
	}
	if !visible {
		schema, role := pg.Quote(t.ledgerSchema), pg.Quote(t.role)
		r.Unseen = append(r.Unseen, fmt.Sprintf("Stages in the ledger. To let the role see them: GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON ALL TABLES IN SCHEMA %[1]s TO %[2]s;",
			schema, role))
		return nil
	}
	records, err := env.RecordsOf(ctx, tx, &pg.Table{Name: t.table, OID: t.oid})
	for _, s := range records {
		r.Stages = append(r.Stages, Stage{Type: "postgres_" + string(s.Kind), ID: s.Key, Status: string(s.Status), Retired: s.Retired()})
	}
	return err
}
