package ledger

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
)

// Writer is somebody who wrote one side of a sync only.
type Writer struct {
	Sync string
	// Side is the one that it wrote: old or new.
	Side            string
	ApplicationName string
	Role            string
	Address         *netip.Prefix
	FirstSeen       time.Time
	LastSeen        time.Time
}

// NoteLag is how much older than a writer's last write its note may be: a session notes at most once in a minute, and leaves
// it when another session of the same application and role has noted within 30 seconds (migrations/002_writers.sql).
const NoteLag = 90 * time.Second

// Writers returns who wrote one side of the syncs only, the latest first.
func (l Ledger) Writers(ctx context.Context, tx pgx.Tx, syncs []string) ([]Writer, error) {
	rows, err := tx.Query(ctx, `
		SELECT sync, side, application_name, role, address, first_seen_at, last_seen_at FROM `+l.table("writer")+`
		 WHERE sync = ANY($1) ORDER BY last_seen_at DESC, application_name, role, address`, syncs)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	writers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Writer])
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	return writers, nil
}

// ForgetWriters deletes what was noted of a sync's writers. It passes over a note that is being written just now.
func (l Ledger) ForgetWriters(ctx context.Context, tx pgx.Tx, sync string) error {
	return l.exec(ctx, tx, `
		DELETE FROM `+l.table("writer_note")+`
		 WHERE ctid IN (SELECT ctid FROM `+l.table("writer_note")+` WHERE sync = $1 FOR UPDATE SKIP LOCKED)`, sync)
}
