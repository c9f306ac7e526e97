package ddl

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Holder is a session, or a prepared transaction, that holds a lock in our way.
type Holder struct {
	pg.Session
	Transaction string
	Mode        string
}

// holders returns who holds a lock on one of the relations that conflicts with the mode, oldest first. It takes no
// lock on any table itself.
func holders(ctx context.Context, tx pgx.Tx, relations []uint32, mode Lock) ([]Holder, error) {
	rows, err := tx.Query(ctx, `
		SELECT `+pg.HolderColumns+`,
		       l.virtualtransaction, max(l.mode)
		  FROM `+pg.Holders+`
		 WHERE `+pg.OnRelations+` AND l.granted AND l.relation = ANY($1) AND l.mode = ANY($2)
		   AND l.pid IS DISTINCT FROM pg_backend_pid()
		 GROUP BY l.pid, l.virtualtransaction, a.usename, p.owner, a.application_name, p.gid, a.backend_type, a.state,
		          a.query, a.xact_start, p.prepared
		 ORDER BY 7 DESC`, relations, mode.conflicts())
	if err != nil {
		return nil, fmt.Errorf("look for lock holders: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h Holder, err error) {
		err = row.Scan(append(h.Targets(), &h.Transaction, &h.Mode)...)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for lock holders: %w", err)
	}
	return all, nil
}

// yields reports whether the holder is an autovacuum that the server cancels for whoever waits longer than
// deadlock_timeout. One that prevents wraparound is never cancelled. Without pg_read_all_stats the role sees no
// backend type; an autovacuum worker then is who has no user name and holds this mode.
func (h Holder) yields() bool {
	worker := h.Backend == "autovacuum worker" || (h.User == "" && h.Mode == "ShareUpdateExclusiveLock")
	return worker && !strings.Contains(h.Query, "to prevent wraparound")
}

// String describes the holder on one line.
func (h Holder) String() string { return h.Session.String() + ", holds " + h.Mode }
