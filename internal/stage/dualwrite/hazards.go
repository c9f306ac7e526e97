package dualwrite

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// hazards tells what on the table can keep the trigger from doing its work.
func (s *Spec) hazards(ctx context.Context, tx pgx.Tx, found *inspection) (hazards []*finding.Finding, err error) {
	for _, side := range []struct{ which, columns []string }{{[]string{"new", "old"}, s.New()}, {[]string{"old", "new"}, s.Old()}} {
		for _, name := range side.columns {
			if c, exists := found.table.Column(name); exists && c.Default != "" {
				hazards = append(hazards, finding.New(fmt.Sprintf("Column %s has a default", s.Table.Column(name)),
					fmt.Sprintf("A service that inserts a row without the %[1]s side seems to give it, because the server fills in %[2]s first. Such a "+
						"row keeps the default on its %[1]s side, whatever is on the %[3]s side.\n\nDrop the default while the sync is there, unless "+
						"every service writes both sides:\n\n  ALTER TABLE %[4]s ALTER COLUMN %[5]s DROP DEFAULT;",
						side.which[0], c.Default, side.which[1], s.Table.SQL(), pg.Quote(name))))
			}
		}
	}
	later, err := s.laterTriggers(ctx, tx, found.table)
	if err != nil {
		return nil, err
	}
	if len(later) > 0 {
		hazards = append(hazards, finding.New(fmt.Sprintf("Triggers of %s run after that of the sync of %s", s.Table, strings.Join(s.New(), ", ")),
			fmt.Sprintf("Triggers run in the byte order of their names. What these change on either side, the trigger %s does not see:\n%s\n\nIf one "+
				"of them does, rename it:\n\n  ALTER TRIGGER ... ON %s RENAME TO ...;", pg.Quote(s.trigger()), finding.List(later), s.Table.SQL())))
	}
	if inputs := s.inputs(found.reads); len(inputs) > 0 {
		hazards = append(hazards, finding.New(fmt.Sprintf("Sync of %s also reads %s", s.describe(), list(inputs)),
			"reverse does not set it, so it counts as neither side: a row in which nothing else changes is not computed anew."))
	}
	return hazards, nil
}

// inputs returns what forward reads besides the old side.
func (s *Spec) inputs(reads []string) (inputs []string) {
	for _, read := range reads {
		if _, old := s.Reverse[read]; !old && len(s.Reverse) > 0 {
			inputs = append(inputs, read)
		}
	}
	return inputs
}

// laterTriggers lists the triggers before insert or update of rows that fire after ours.
func (s *Spec) laterTriggers(ctx context.Context, tx pgx.Tx, table *pg.Table) ([]string, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT quote_ident(t.tgname) || ', which calls ' || t.tgfoid::regprocedure::text
		  FROM pg_trigger t
		 WHERE t.tgrelid = ANY($1) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
		   AND t.tgtype & 1 = 1 AND t.tgtype & 2 = 2 AND t.tgtype & (4 | 16) <> 0
		   AND t.tgname COLLATE "C" > $2 COLLATE "C" AND NOT starts_with(t.tgname, 'zzz_sync_')
		 ORDER BY 1`, table.Tree, s.trigger())
	if err != nil {
		return nil, fmt.Errorf("list the triggers of %s: %w", s.Table, err)
	}
	later, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the triggers of %s: %w", s.Table, err)
	}
	return later, nil
}
