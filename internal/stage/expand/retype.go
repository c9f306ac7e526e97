package expand

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// refuseRetype refuses to change the type of a column in place, unless the user has accepted that and the server could do it.
func (s *Spec) refuseRetype(ctx context.Context, tx pgx.Tx, table *pg.Table, records []*ledger.Stage, existing pg.Column, to pg.Type) (rewrite string, err error) {
	name, full := existing.Name, s.Table.Column(existing.Name)
	staged, err := s.newColumn(ctx, tx, table, existing, to)
	if err != nil {
		return "", err
	}
	change := fmt.Sprintf("from %s to %s", existing.Type.SQL, to.SQL)
	if !s.allowsRewrite() {
		r := &refusal{column: name, staged: staged}
		r.unlessAllowed("type", fmt.Sprintf("Column %s cannot change its type in place", full),
			fmt.Sprintf("Changing it %s %s in most cases, and checks every row in others.", change, rewrites))
		return "", r.finding(table)
	}
	refuse := func(summary, detail string) (string, error) {
		return "", finding.New(summary, finding.Paragraphs(detail, staged.String())).At("columns", name, "type")
	}
	if used := usersOf(records, existing.Attnum); len(used) > 0 {
		return refuse(fmt.Sprintf("Column %s is used by other stages, so that its type cannot change", full),
			"Their expressions and triggers are made for the type that it has:\n"+finding.List(used)+
				"\n\nDestroy them before, or leave the column as it is.")
	}
	stuck, err := stuckTo(ctx, tx, table, existing)
	if err != nil {
		return "", err
	}
	broken, err := breaks(ctx, tx, table, existing, to)
	if err != nil {
		return "", err
	}
	if stuck = append(stuck, broken...); len(stuck) > 0 {
		return refuse(fmt.Sprintf("Other objects depend on the type of column %s", full),
			fmt.Sprintf("Changing it %s fails while they are there:\n%s\n\nDrop them before and create them anew after, or leave the column as it is.",
				change, finding.List(stuck)))
	}
	refused, err := expression.Assignable(ctx, tx, table, name, to.SQL)
	if err != nil {
		return "", fmt.Errorf("look for a cast from %s to %s: %w", existing.Type.SQL, to.SQL, err)
	}
	if refused != nil {
		return refuse(fmt.Sprintf("Column %s cannot be cast to %s automatically", full, to.SQL),
			fmt.Sprintf("ALTER COLUMN TYPE %s needs an assignment cast, and the server has none (SQLSTATE %s). In place, the provider changes types with "+
				"that cast only.", change, refused.Code))
	}
	return "its type changes " + change, nil
}

// newColumn is the way to another type by a column of another name.
func (s *Spec) newColumn(ctx context.Context, tx pgx.Tx, table *pg.Table, existing pg.Column, to pg.Type) (*staged, error) {
	name := pg.FitName(existing.Name, "_new")
	for n := 2; ; n++ {
		if _, taken := table.Column(name); !taken {
			break
		}
		name = pg.FitName(existing.Name, fmt.Sprintf("_new%d", n))
	}
	base, _ := expression.SplitType(s.Columns[existing.Name].Type)
	w := &staged{table: s.Table, column: name, Column: Column{Type: base}, keep: pg.Quote(existing.Name) + "::" + base}
	castable, err := expression.Castable(ctx, tx, table, existing.Name, base)
	if err != nil {
		return nil, fmt.Errorf("look for a cast from %s to %s: %w", existing.Type.SQL, to.SQL, err)
	}
	if !castable {
		w.keep = pg.Quote(existing.Name) + "::text::" + base
	}
	under, err := readDomain(ctx, tx, to)
	if err != nil {
		return nil, err
	}
	if under.constrained() {
		w.underneath(under)
		w.Default, w.NotNull = "", false
		w.keep = strings.TrimSuffix(w.keep, base) + under.base
	}
	w.mention(fmt.Sprintf("Keep the column %s as it was. When nothing uses it any more, a postgres_column_contract takes it away.", s.Table.Column(existing.Name)))
	return w, nil
}

// usersOf lists the stages of the ledger that use the column.
func usersOf(records []*ledger.Stage, attnum int16) (used []string) {
	for _, r := range records {
		uses := slices.Contains(r.Reads, attnum) || slices.Contains(r.Writes, attnum)
		if uses && r.Kind != ledger.ColumnExpand && r.Status != ledger.Forgotten {
			used = append(used, fmt.Sprintf("postgres_%s %s", r.Kind, r.Key))
		}
	}
	return used
}

// stuckTo lists what keeps the server from changing the type of the column at all (RememberAllDependentForRebuilding in
// src/backend/commands/tablecmds.c), and foreign keys, for which it would lock and scan another table as well.
func stuckTo(ctx context.Context, tx pgx.Tx, table *pg.Table, column pg.Column) ([]string, error) {
	if column.Inherited || slices.Contains(table.PartitionKey, column.Attnum) {
		return []string{"inheritance or the partition key, of which it is a part"}, nil
	}
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
		  FROM pg_depend d
		  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attname = $2
		 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY($1)
		   AND (d.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_publication_rel'::regclass, 'pg_proc'::regclass)
		        OR d.classid = 'pg_constraint'::regclass AND EXISTS (SELECT FROM pg_constraint c WHERE c.oid = d.objid AND c.contype = 'f')
		        -- Up to PostgreSQL 14 a generated column depends on what it reads; later its expression does.
		        OR d.classid = 'pg_class'::regclass AND EXISTS (
		             SELECT FROM pg_attribute g WHERE g.attrelid = d.objid AND g.attnum = d.objsubid AND g.attgenerated <> '')
		        OR d.classid = 'pg_attrdef'::regclass AND EXISTS (
		             SELECT FROM pg_attrdef e JOIN pg_attribute g ON g.attrelid = e.adrelid AND g.attnum = e.adnum
		              WHERE e.oid = d.objid AND g.attgenerated <> ''))
		 ORDER BY 1`, table.Tree, column.Name)
	if err != nil {
		return nil, fmt.Errorf("list what depends on %s: %w", table.Name.Column(column.Name), err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list what depends on %s: %w", table.Name.Column(column.Name), err)
	}
	return found, nil
}

// breaks lists the indexes, constraints and statistics that the server would build anew, and could not with the new type.
func breaks(ctx context.Context, tx pgx.Tx, table *pg.Table, column pg.Column, to pg.Type) ([]string, error) {
	rows, err := tx.Query(ctx, `
		WITH uses AS (
		  SELECT DISTINCT d.classid, d.objid
		    FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attname = $2
		   WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY($1)
		)
		SELECT DISTINCT pg_describe_object(u.classid, u.objid, 0), e.sql
		  FROM uses u
		 CROSS JOIN LATERAL (
		       SELECT pg_get_indexdef(i.indexrelid, k.n::int, false)
		         FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
		        WHERE u.classid = 'pg_class'::regclass AND i.indexrelid = u.objid AND k.attnum = 0
		       UNION ALL
		       SELECT pg_get_expr(i.indpred, i.indrelid) FROM pg_index i
		        WHERE u.classid = 'pg_class'::regclass AND i.indexrelid = u.objid AND i.indpred IS NOT NULL
		       UNION ALL
		       SELECT pg_get_expr(c.conbin, c.conrelid) FROM pg_constraint c
		        WHERE u.classid = 'pg_constraint'::regclass AND c.oid = u.objid AND c.conbin IS NOT NULL
		       UNION ALL
		       SELECT unnest(pg_get_statisticsobjdef_expressions(u.objid)) WHERE u.classid = 'pg_statistic_ext'::regclass) AS e(sql)
		 ORDER BY 1, 2`, table.Tree, column.Name)
	if err != nil {
		return nil, fmt.Errorf("list expressions with %s: %w", table.Name.Column(column.Name), err)
	}
	type use struct{ Object, SQL string }
	uses, err := pgx.CollectRows(rows, pgx.RowToStructByPos[use])
	if err != nil {
		return nil, fmt.Errorf("list expressions with %s: %w", table.Name.Column(column.Name), err)
	}
	var broken []string
	for _, u := range uses {
		refused, err := expression.CompilesWithType(ctx, tx, table, column.Name, to.SQL, u.SQL)
		if err != nil {
			return nil, fmt.Errorf("compile %q: %w", u.SQL, err)
		}
		if refused != nil {
			broken = append(broken, fmt.Sprintf("%s, for whose %s the server says: %s", u.Object, u.SQL, refused.Message))
		}
	}
	without, err := withoutOperators(ctx, tx, table, column, to)
	return append(broken, without...), err
}

// withoutOperators lists the indexes whose access method cannot sort or search the new type.
func withoutOperators(ctx context.Context, tx pgx.Tx, table *pg.Table, column pg.Column, to pg.Type) ([]string, error) {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE under(oid, base) AS (
		  SELECT oid, typbasetype FROM pg_type WHERE oid = $3
		  UNION ALL
		  SELECT t.oid, t.typbasetype FROM under u JOIN pg_type t ON t.oid = u.base
		), fresh AS (
		  SELECT t.oid, t.typtype, t.typcategory FROM under u JOIN pg_type t ON t.oid = u.oid WHERE u.base = 0
		)
		SELECT DISTINCT pg_describe_object('pg_class'::regclass, i.indexrelid, 0)
		  FROM pg_index i
		  JOIN pg_class c ON c.oid = i.indexrelid
		 CROSS JOIN fresh f
		 CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
		  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND a.attname = $2
		  JOIN pg_opclass o ON o.oid = (i.indclass::oid[])[k.n - 1]
		 WHERE i.indrelid = ANY($1) AND k.n <= i.indnkeyatts
		   AND NOT EXISTS (
		         SELECT FROM pg_opclass p
		          WHERE p.opcmethod = c.relam AND CASE WHEN o.opcdefault THEN p.opcdefault ELSE p.oid = o.oid END
		            AND (p.opcintype = f.oid
		                 OR EXISTS (SELECT FROM pg_cast WHERE castsource = f.oid AND casttarget = p.opcintype AND castmethod = 'b')
		                 OR p.opcintype = 'anyarray'::regtype AND f.typcategory = 'A'
		                 OR p.opcintype = 'anyenum'::regtype AND f.typtype = 'e'
		                 OR p.opcintype = 'anyrange'::regtype AND f.typtype = 'r'
		                 OR p.opcintype = 'anymultirange'::regtype AND f.typtype = 'm'
		                 OR p.opcintype = 'record'::regtype AND f.typtype = 'c'))
		 ORDER BY 1`, table.Tree, column.Name, to.OID)
	if err != nil {
		return nil, fmt.Errorf("look for operators of %s: %w", to.SQL, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for operators of %s: %w", to.SQL, err)
	}
	for i := range found {
		found[i] += ", whose operators are not for " + to.SQL
	}
	return found, nil
}
