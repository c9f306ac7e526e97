package load

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// deadRows is what the relations of the backfill have for vacuum to do.
type deadRows struct {
	// live and dead are rows of the relations that autovacuum comes to; forsaken are the dead rows of the others.
	live, dead, forsaken int64
	vacuums              int64 // how many have ended
	running              bool  // a vacuum works on one of them; false also when the role may not see that
	spared               bool  // none of them has so many that autovacuum would come
}

func readDeadRows(l *look) (string, []any) {
	return `
		SELECT coalesce(sum(r.live) FILTER (WHERE r.visited), 0)::bigint, coalesce(sum(r.dead) FILTER (WHERE r.visited), 0)::bigint,
		       coalesce(sum(r.dead) FILTER (WHERE NOT r.visited), 0)::bigint, coalesce(sum(r.vacuums), 0)::bigint,
		       EXISTS (SELECT FROM pg_stat_get_progress_info('VACUUM') v WHERE v.relid = ANY ($1::int8[]::oid[])),
		       NOT coalesce(bool_or(r.visited AND r.dead > r.due), false)
		  FROM (SELECT pg_stat_get_live_tuples(c.oid) AS live, pg_stat_get_dead_tuples(c.oid) AS dead,
		               pg_stat_get_vacuum_count(c.oid) + pg_stat_get_autovacuum_count(c.oid) AS vacuums,
		               current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean
		               AND NOT EXISTS (SELECT FROM pg_options_to_table(c.reloptions) o
		                                WHERE o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean) AS visited,
		               -- When autovacuum comes (documentation, 25.1.6).
		               coalesce((SELECT o.option_value FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'autovacuum_vacuum_threshold'),
		                        current_setting('autovacuum_vacuum_threshold'))::float8
		               + coalesce((SELECT o.option_value FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'autovacuum_vacuum_scale_factor'),
		                          current_setting('autovacuum_vacuum_scale_factor'))::float8 * greatest(c.reltuples, 0) AS due
		          FROM pg_class c
		         WHERE c.oid = ANY ($1::int8[]::oid[])) AS r`, []any{l.relations}
}

func scanDeadRows(rows pgx.Rows, r *reading) error {
	var d deadRows
	for rows.Next() {
		if err := rows.Scan(&d.live, &d.dead, &d.forsaken, &d.vacuums, &d.running, &d.spared); err != nil {
			return err
		}
		r.deadRows = &d
	}
	return rows.Err()
}

// vacuumPatience is how long batches wait for a vacuum that does not begin. autovacuum_naptime is a minute.
const vacuumPatience = 5 * time.Minute

// deadRowsJudge decides about dead_rows. The backfill itself makes dead rows, and vacuum may have no time for them, or
// may not be able to remove them, so that no wait may be without an end.
type deadRowsJudge struct {
	limits *Limits
	log    *slog.Logger

	seen    bool
	vacuums int64 // at the last look
	// left is what the last vacuum could not remove, or 0.
	left     int64
	waiting  bool
	progress time.Time // when something last happened while batches wait
	// gaveUp means that no vacuum came in time; the next one that ends changes that.
	gaveUp, toldForsaken bool
}

func (j *deadRowsJudge) judge(now time.Time, d *deadRows) (result judgement) {
	limit := max(j.limits.DeadRows, int64(j.limits.DeadRowsShare*float64(d.live)))
	if d.forsaken > max(j.limits.DeadRows, 1) && !j.toldForsaken {
		j.toldForsaken = true
		j.log.Warn(fmt.Sprintf("%s dead rows will stay until somebody runs VACUUM, because autovacuum is switched off for them: the backfill "+
			"does not wait", number(d.forsaken)))
	}
	if j.seen && d.vacuums > j.vacuums {
		j.waiting, j.gaveUp, j.left = false, false, d.dead
	}
	j.seen, j.vacuums = true, d.vacuums
	j.left = min(j.left, d.dead)
	if j.gaveUp || limit == 0 { // a share of rows that nobody has counted yet
		return result
	}
	if !j.waiting {
		if d.dead-j.left <= limit {
			return result
		}
		j.waiting, j.progress = true, now
	}
	if d.dead < limit/2 || (d.spared && !d.running) { // Writers remove dead rows as well, until no vacuum would come.
		j.waiting = false
		return result
	}
	if d.running {
		j.progress = now
		result.waitFor("%s: %s, limit %s, a vacuum is running", DeadRows, number(d.dead), number(limit))
		return result
	}
	left := vacuumPatience - now.Sub(j.progress)
	if left <= 0 {
		j.log.Warn(fmt.Sprintf("%s dead rows, and no vacuum came in %s: the backfill goes on", number(d.dead), seconds(vacuumPatience)))
		j.waiting, j.gaveUp = false, true
		return result
	}
	result.waitFor("%s: %s, limit %s, waits for vacuum for at most %s more", DeadRows, number(d.dead), number(limit), seconds(left))
	return result
}
