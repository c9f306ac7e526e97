package backfill

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// guard is the condition of a trigger that passes over the rows of a backfill. A setting that was set for a transaction is
// empty after it, and NULL before the first.
var guard = fmt.Sprintf("coalesce(current_setting('%s', true), '') = ''", stage.FillingSetting)

// affected is SQL for the columns of a relation that a batch changes: the targets, $2, and generated ones, which may follow
// from them.
const affected = `ARRAY(SELECT a.attnum FROM pg_attribute a
	WHERE a.attrelid = %s AND NOT a.attisdropped AND (a.attname = ANY($2) OR a.attgenerated <> ''))`

// nameOf is SQL for the name of a relation, whatever the search_path is.
const nameOf = `(SELECT format('%%I.%%I', m.nspname, k.relname) FROM pg_class k JOIN pg_namespace m ON m.oid = k.relnamespace WHERE k.oid = %s)`

// trigger is a trigger that somebody made on the table, or on partitions of it.
type trigger struct {
	Name, Function string
	// Relations are the leaves on which a batch fires it.
	Relations []string
	// EachRow and Before say when it fires.
	EachRow, Before bool
	Constraint      bool
	// Definition is the statement that makes it, on Table. Partitions have clones of a trigger of their parent.
	Definition, Table string
	Always            bool
}

// firing returns the triggers that the batches fire. Those of our own syncs, and those that pass over the rows of
// backfills, are not among them. enabled are the states in which triggers fire (pg_trigger.tgenabled). A batch names the
// leaf, so it fires what is on the leaf alone.
func (s *Spec) firing(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, enabled ...string) ([]trigger, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(`
		SELECT quote_ident(r.tgname), r.tgfoid::regprocedure::text, array_agg(%[1]s ORDER BY %[1]s),
		       r.tgtype & 1 = 1, r.tgtype & 2 = 2, r.tgconstraint <> 0, pg_get_triggerdef(r.oid), %[2]s,
		       r.tgenabled = 'A'
		  FROM pg_trigger t
		  JOIN pg_proc p ON p.oid = t.tgfoid
		  JOIN pg_namespace n ON n.oid = p.pronamespace
		  LEFT JOIN pg_constraint c ON c.oid = t.tgconstraint
		 CROSS JOIN LATERAL (
		         WITH RECURSIVE up AS (
		           SELECT t.oid, t.tgparentid
		           UNION ALL
		           SELECT u.oid, u.tgparentid FROM up JOIN pg_trigger u ON u.oid = up.tgparentid)
		         SELECT o.* FROM up JOIN pg_trigger o ON o.oid = up.oid WHERE up.tgparentid = 0) r
		 WHERE t.tgrelid = ANY($1) AND t.tgenabled::text = ANY($3) AND t.tgtype & 16 = 16
		   AND coalesce(c.contype, 't') = 't' AND n.nspname <> $4
		   AND (t.tgattr::text = '' OR t.tgattr::int2[] && %[3]s)
		   AND (t.tgqual IS NULL OR strpos(pg_get_triggerdef(t.oid), $5) = 0)
		 GROUP BY r.oid, r.tgname, r.tgfoid, r.tgtype, r.tgconstraint, r.tgrelid, r.tgenabled
		 ORDER BY r.tgname, 3`, fmt.Sprintf(nameOf, "t.tgrelid"), fmt.Sprintf(nameOf, "r.tgrelid"), fmt.Sprintf(affected, "t.tgrelid")),
		leavesOf(table), s.Targets(), enabled, env.Ledger.Schema, stage.FillingSetting)
	if err != nil {
		return nil, fmt.Errorf("list the triggers of %s: %w", table.Name, err)
	}
	triggers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[trigger])
	if err != nil {
		return nil, fmt.Errorf("list the triggers of %s: %w", table.Name, err)
	}
	return triggers, nil
}

func leavesOf(table *pg.Table) []uint32 {
	leaves := make([]uint32, len(table.Leaves))
	for i, leaf := range table.Leaves {
		leaves[i] = leaf.OID
	}
	return leaves
}

// String says what the trigger is and what it may do.
func (t trigger) String() string {
	does := "once for each batch"
	switch {
	case t.EachRow && t.Before:
		does = "before each row; it may change what is written"
	case t.EachRow && t.Constraint:
		does = "for each row; it may refuse it"
	case t.EachRow:
		does = "after each row; it may write elsewhere"
	}
	return fmt.Sprintf("%s, which calls %s: %s", t.Name, t.Function, does)
}

// guarded renders the statements that make the trigger pass over the rows of backfills.
func (t trigger) guarded() string {
	const calls = " EXECUTE FUNCTION "
	head, call := t.Definition, ""
	if i := strings.LastIndex(head, calls); i >= 0 {
		head, call = head[:i], strings.TrimSpace(head[i:])
	}
	condition := guard
	if i := strings.Index(head, " WHEN ("); i >= 0 {
		condition = strings.TrimSuffix(head[i+len(" WHEN ("):], ")") + " AND " + guard
		head = head[:i]
	}
	var before string
	if t.Constraint { // CREATE OR REPLACE is not for them.
		before = fmt.Sprintf("DROP TRIGGER %s ON %s;\n", t.Name, t.Table)
	} else {
		head = strings.Replace(head, "CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", 1)
	}
	text := fmt.Sprintf("%s%s\n  WHEN (%s)\n  %s;", before, head, condition, call)
	if t.Always {
		text += fmt.Sprintf("\nALTER TABLE %s ENABLE ALWAYS TRIGGER %s;", t.Table, t.Name)
	}
	return text
}

// mostExamples bounds the statements in one text.
const mostExamples = 3

// triggerForecast says which triggers the batches fire, what they may do, and how to keep them from it.
func (s *Spec) triggerForecast(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table) ([]string, error) {
	enabled := []string{"O", "A"}
	if s.QuietTriggers {
		enabled = []string{"R", "A"} // Under the setting, these are the ones that fire.
	}
	triggers, err := s.firing(ctx, tx, env, table, enabled...)
	if err != nil || len(triggers) == 0 {
		return nil, err
	}
	list, guarded := make([]string, 0, len(triggers)), triggers[0].guarded() // One shows how it is done.
	for i, t := range triggers {
		if i == mostExamples {
			list = append(list, fmt.Sprintf("and %d more", len(triggers)-i))
			break
		}
		line := t.String()
		if len(t.Relations) < len(table.Leaves) {
			line += ". It is on " + strings.Join(t.Relations[:min(mostExamples, len(t.Relations))], ", ")
			if more := len(t.Relations) - mostExamples; more > 0 {
				line += fmt.Sprintf(" and %d more", more)
			}
		}
		list = append(list, line)
	}
	how := "fire_triggers = false keeps them from it, if the role may do that; the plan then says. Or let"
	fire := "These triggers fire for the rows that it updates:\n"
	if s.QuietTriggers {
		how = "To keep them from it, let"
		fire = "These triggers fire for the rows that it updates, in spite of fire_triggers = false, because they are ENABLE ALWAYS or ENABLE REPLICA:\n"
	}
	return []string{fire + finding.List(list), fmt.Sprintf("%s a trigger pass over the rows of backfills by its condition:\n\n%s", how,
		finding.Indent(guarded))}, nil
}
