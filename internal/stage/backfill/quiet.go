package backfill

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// quiet is the setting under which the server fires no ordinary trigger. It passes over foreign keys and deferrable
// constraints as well, which are triggers too (https://www.postgresql.org/docs/current/runtime-config-client.html).
var quiet = pg.Setting{Name: "session_replication_role", Value: "replica"}

// checkQuiet refuses a backfill without triggers that the role may not run, or in which the server would pass over more than
// what the user means. reads are the columns that the backfill reads.
func (s *Spec) checkQuiet(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, reads []string) error {
	if !s.QuietTriggers {
		return nil
	}
	may, err := pg.MaySet(ctx, tx, quiet.Name)
	if err != nil {
		return err
	}
	if !may.Allowed && !may.Grantable {
		// Some hosted services let their administrators do it without being superusers, which no catalog tells.
		attempt, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		_, refused := attempt.Exec(ctx, `SELECT set_config(name, value, true) FROM (VALUES ('role', 'none'), ($1, $2)) AS s(name, value)`,
			quiet.Name, quiet.Value)
		if err := attempt.Rollback(ctx); err != nil {
			return err
		}
		may.Allowed = refused == nil
	}
	if !may.Allowed {
		return finding.New(fmt.Sprintf("Role %s may not keep the triggers of %s from firing", may.Role, s.Table),
			finding.Paragraphs(fmt.Sprintf("For fire_triggers = false, the batches set %s. %s", quiet.Name, may.Remedy()),
				"Or leave fire_triggers out, and let triggers pass over the rows of backfills by their condition:\n\n  WHEN ("+guard+")")).
			At("fire_triggers")
	}
	obstacles, err := s.skipped(ctx, tx, env, table, reads)
	if err != nil || len(obstacles) == 0 {
		return err
	}
	return finding.New(fmt.Sprintf("Backfill of %s needs triggers that fire_triggers = false switches off", s.describe()),
		"The server checks foreign keys and deferrable constraints by triggers, and a sync is one. All of them would pass over the rows that the "+
			"backfill writes, and wrong rows could stay:\n"+finding.List(obstacles)+"\n\nLeave fire_triggers out. Triggers that should not fire can pass "+
			"over the rows of backfills by their condition:\n\n  WHEN ("+guard+")").At("fire_triggers")
}

// skipped lists what keeps the rows right and would not notice the batches.
func (s *Spec) skipped(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, reads []string) ([]string, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(`
		SELECT CASE c.contype WHEN 'f' THEN 'foreign key ' ELSE 'deferrable constraint ' END
		       || quote_ident(c.conname) || ' on ' || %[3]s
		       || CASE WHEN c.contype = 'f' AND NOT c.conrelid = ANY($1) THEN ', which refers to ' || %[4]s ELSE '' END
		  FROM pg_constraint c
		 WHERE (c.contype = 'f' AND (c.conrelid = ANY($1) AND c.conkey && %[1]s OR c.confrelid = ANY($1) AND c.confkey && %[2]s)
		        OR c.contype IN ('p', 'u', 'x') AND c.condeferrable AND c.conrelid = ANY($1) AND (c.contype = 'x' OR c.conkey && %[1]s))
		   AND NOT EXISTS (
		         SELECT FROM pg_constraint p WHERE p.oid = c.conparentid AND (p.conrelid = ANY($1) OR p.confrelid = ANY($1)))
		 ORDER BY 1`, fmt.Sprintf(affected, "c.conrelid"), fmt.Sprintf(affected, "c.confrelid"), fmt.Sprintf(nameOf, "c.conrelid"),
		fmt.Sprintf(nameOf, "c.confrelid")),
		table.Tree, s.Targets())
	if err != nil {
		return nil, fmt.Errorf("list the constraints of %s: %w", table.Name, err)
	}
	skipped, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the constraints of %s: %w", table.Name, err)
	}
	triggers, err := s.firing(ctx, tx, env, table, "O")
	if err != nil {
		return nil, err
	}
	for _, t := range triggers {
		if t.Constraint {
			skipped = append(skipped, fmt.Sprintf("constraint trigger %s on %s", t.Name, t.Table))
		}
	}
	syncs, err := s.syncsThatMatter(ctx, tx, env, table, reads)
	return append(skipped, syncs...), err
}

// syncsThatMatter lists the syncs to which the backfill is a writer like any other.
func (s *Spec) syncsThatMatter(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, reads []string) (matter []string, err error) {
	records, err := env.RecordsOf(ctx, tx, table)
	if err != nil {
		return nil, err
	}
	for _, record := range records {
		if record.Kind != ledger.ColumnSync || record.Status == ledger.Forgotten || record.Retired() {
			continue
		}
		sync, err := stage.Decode[dualwrite.Spec](record.Spec)
		if err != nil {
			return nil, err
		}
		uses := func(target string) bool {
			c, exists := table.Column(target)
			return exists && (slices.Contains(record.Reads, c.Attnum) || slices.Contains(record.Writes, c.Attnum))
		}
		if !sync.EnableAlways && slices.ContainsFunc(s.Targets(), uses) && !s.passesBy(&sync, reads) {
			matter = append(matter, fmt.Sprintf("postgres_column_sync %s, which computes from it", sync.ID))
		}
	}
	return matter, nil
}

// passesBy reports whether the sync takes no notice of the backfill anyhow, as stage.Filling has it.
func (s *Spec) passesBy(sync *dualwrite.Spec, reads []string) bool {
	isTarget := func(column string) bool { _, target := s.Set[column]; return target }
	fromNew := slices.ContainsFunc(sync.New(), func(column string) bool { return slices.Contains(reads, column) })
	return slices.ContainsFunc(sync.New(), isTarget) ||
		fromNew && (len(sync.Reverse) == 0 || slices.ContainsFunc(sync.Old(), isTarget))
}
