package contract

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// blind is somebody who may see the table as it was before a backfill ended.
type blind struct{ text, remedy string }

// readBlind returns the sessions and standbys with a snapshot that is older than the end of a backfill: to them the new columns
// are still empty, and after the contract the old ones are gone. A transaction that began later has a newer snapshot,
// even if its oldest running transaction is older. A prepared transaction reads nothing any more, and its locks are waited
// for, so that it does not count.
func readBlind(ctx context.Context, tx pgx.Tx, env *stage.Env, readers []*ledger.Stage) ([]blind, error) {
	ids := make([]int64, len(readers))
	for i, r := range readers {
		ids[i] = r.ID
	}
	if len(ids) == 0 {
		return nil, nil
	}
	ends, err := env.Ledger.Completions(ctx, tx, ids)
	if err != nil || len(ends) == 0 {
		return nil, err
	}
	xmax, at := make([]string, len(ends)), make([]time.Time, len(ends))
	for i, end := range ends {
		xmax[i], at[i] = end.Xmax, end.At
	}
	// An autovacuum has no user name, and reads for nobody.
	rows, err := tx.Query(ctx, `
		WITH completed AS (SELECT x::xid8::xid AS xmax, t AS at FROM unnest($1::text[], $2::timestamptz[]) AS c(x, t)),
		     standby AS (SELECT pid FROM pg_stat_replication)
		SELECT DISTINCT ON (a.pid) a.pid, coalesce(a.usename, '')::text, coalesce(a.application_name, ''),
		       coalesce(a.backend_type, ''), coalesce(a.state, ''), coalesce(left(a.query, 200), ''),
		       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), -1)::float8
		  FROM pg_stat_activity a JOIN completed c ON age(a.backend_xmin) > age(c.xmax)
		 WHERE a.pid <> pg_backend_pid()
		   AND (a.pid IN (SELECT pid FROM standby)
		        OR (a.datname = current_database() AND a.usename IS NOT NULL AND coalesce(a.xact_start <= c.at, true)))`, xmax, at)
	if err != nil {
		return nil, fmt.Errorf("look for old snapshots: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (b blind, err error) {
		var session pg.Session
		err = row.Scan(session.Targets()...)
		return blind{text: session.String(), remedy: session.Remedy()}, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for old snapshots: %w", err)
	}
	// With a replication slot, what a standby still needs is kept there.
	rows, err = tx.Query(ctx, `
		SELECT DISTINCT 'standby of the replication slot ' || quote_ident(s.slot_name)
		  FROM pg_replication_slots s JOIN unnest($1::text[]) AS c(x) ON age(s.xmin) > age(c.x::xid8::xid)
		 WHERE s.slot_type = 'physical' AND s.active`, xmax)
	if err != nil {
		return nil, fmt.Errorf("look for old snapshots of standbys: %w", err)
	}
	slots, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (b blind, err error) {
		return b, row.Scan(&b.text)
	})
	if err != nil {
		return nil, fmt.Errorf("look for old snapshots of standbys: %w", err)
	}
	return append(found, slots...), nil
}

// awaitSnapshots waits until nobody has such a snapshot any more.
func (s *Spec) awaitSnapshots(ctx context.Context, env *stage.Env, readers []*ledger.Stage) error {
	const lookEvery = 250 * time.Millisecond
	for deadline := time.Now().Add(env.RetryFor); ; {
		var found []blind
		err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
			found, err = readBlind(ctx, tx, env, readers)
			return err
		})
		if err != nil || len(found) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return s.oldSnapshots(found, fmt.Sprintf("They are still there after %s. Apply again when they have ended, or end them", env.RetryFor))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// oldSnapshots names who has them.
func (s *Spec) oldSnapshots(found []blind, act string) *finding.Finding {
	lines := make([]string, len(found))
	var remedies []string
	for i, b := range found {
		lines[i] = b.text
		if b.remedy != "" {
			remedies = append(remedies, b.remedy)
		}
	}
	if len(remedies) > 0 {
		act += ":\n\n" + finding.Indent(strings.Join(remedies, "\n"))
	} else {
		act += "."
	}
	hidden := ""
	for _, b := range found {
		if strings.HasPrefix(b.text, "pid") && !strings.Contains(b.text, "open for") {
			hidden = "The role may not see since when some of these transactions are open, so that it takes the careful view. To let it see:\n\n" +
				"  GRANT pg_read_all_stats TO ROLE;"
		}
	}
	return finding.New(fmt.Sprintf("%s may still see %s as it was before the backfill", finding.Count(len(found), "session"), s.describe()),
		finding.Paragraphs("These have a snapshot that is older than the end of a backfill. To them the new columns are empty, and without the old ones "+
			"they would read nothing at all:\n"+finding.List(lines), act, hidden))
}
