package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Standby is a receiver of replication.
type Standby struct {
	Name      string
	State     *string
	SyncState *string
	// LagBytes and LagSeconds are what it has not replayed; nil when the role may not see it, or the receiver does not tell.
	LagBytes   *int64
	LagSeconds *float64
}

// Position is SQL for where the WAL of this server ends. On a standby that is what it has replayed.
const Position = `CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END`

// Standbys returns the receivers of replication by name. Those who copy the server come and go and are left out.
func Standbys(ctx context.Context, tx pgx.Tx) ([]Standby, error) {
	rows, err := tx.Query(ctx, `
		SELECT coalesce(nullif(s.application_name, ''), 'pid ' || s.pid), s.state, s.sync_state,
		       greatest(`+Position+` - s.replay_lsn, 0)::bigint,
		       CASE WHEN s.replay_lsn >= `+Position+` THEN 0 ELSE extract(epoch FROM s.replay_lag) END::float8
		  FROM pg_stat_replication s
		 WHERE s.state IS DISTINCT FROM 'backup'
		 ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("look for standbys: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Standby])
}
