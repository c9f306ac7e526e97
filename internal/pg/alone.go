package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// watchEvery is how often somebody is told who keeps a statement waiting that runs alone.
const watchEvery = 10 * time.Second

// Alone runs one statement that refuses to be part of a transaction, such as CREATE INDEX CONCURRENTLY, in a session of its own
// that is closed afterwards: its settings cannot be local to a transaction. It needs a server, or a pooler in session mode.
// It may wait for others for as long as ctx lasts; blocked is told now and then who they are.
func (db *DB) Alone(ctx context.Context, sql string, blocked func(blockers []Session)) (err error) {
	pool, err := db.open(ctx)
	if err != nil {
		return err
	}
	pooled, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	session := pooled.Hijack()
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = session.Close(ending) // Whatever it says, the session is over.
	}()
	if err := db.prepareAlone(ctx, session); err != nil {
		return fmt.Errorf("prepare the session: %w", err)
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		db.watch(watching, session.PgConn().PID(), blocked)
	}()
	_, err = session.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	stop()
	<-watched
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(ctx.Err(), err) // The server only says that it was asked to cancel.
	}
	return err
}

// prepareAlone sets only what is not so already: a pooler in transaction mode would hand the settings to somebody else.
func (db *DB) prepareAlone(ctx context.Context, session *pgx.Conn) error {
	all := []Setting{{"lock_timeout", "0"}, {"statement_timeout", "0"}}
	if db.watchesClients {
		all = append(all, checkClient)
	}
	if db.settings.Role != "" {
		all = append(all, Setting{"role", db.settings.Role})
	}
	for _, s := range append(all, db.always...) {
		_, err := session.Exec(ctx, `SELECT set_config($1, $2, false) WHERE current_setting($1, true) IS DISTINCT FROM $2`, s.Name, s.Value)
		if err != nil {
			return err
		}
	}
	return nil
}

// watch looks who blocks a session, until ctx ends. What it cannot see it leaves out.
func (db *DB) watch(ctx context.Context, pid uint32, blocked func(blockers []Session)) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var blockers []Session
		err := db.Look(ctx, func(tx pgx.Tx) (err error) {
			blockers, err = Blockers(ctx, tx, int32(pid)) //nolint:gosec // a process number
			return err
		})
		if err == nil && len(blockers) > 0 {
			blocked(blockers)
		}
	}
}
