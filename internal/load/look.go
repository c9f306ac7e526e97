package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// statementTimeout bounds each statement of a look: one that reads statistics for a second is part of the load itself.
const statementTimeout = time.Second

// lookTimeout bounds a look as a whole, with the wait for a session.
const lookTimeout = 5 * time.Second

// look is what the statements of a look depend on.
type look struct {
	limits *Limits
	major  int
	// relations are OIDs and tracked are process numbers, as the integers that the driver knows how to send.
	relations, tracked []int64
}

// part is one statement of a look and the signals that need it.
type part struct {
	signals []Signal
	sql     func(*look) (string, []any)
	scan    func(rows pgx.Rows, r *reading) error
	query   *Query // for those of the user's own
}

// parts returns the statements that the limits ask for.
func parts(limits *Limits) []*part {
	on := limits.signals()
	var wanted []*part
	for _, p := range []*part{
		{signals: []Signal{ReplicaLag, SyncLag, Replicas}, sql: readStandbys, scan: scanStandbys},
		{signals: []Signal{SlotRetained}, sql: readSlots, scan: scanSlots},
		{signals: []Signal{ArchiveBacklog}, sql: readArchive, scan: scanArchive},
		{signals: []Signal{SnapshotAge}, sql: readHorizon, scan: scanHorizon},
		{signals: []Signal{DeadRows}, sql: readDeadRows, scan: scanDeadRows},
		{signals: []Signal{BlockedSessions}, sql: readBlocked, scan: scanBlocked},
		{signals: []Signal{Checkpoints}, sql: readCheckpoints, scan: scanCheckpoints},
	} {
		if slices.ContainsFunc(p.signals, func(s Signal) bool { return slices.Contains(on, s) }) {
			wanted = append(wanted, p)
		}
	}
	for _, q := range limits.Queries {
		wanted = append(wanted, &part{signals: []Signal{Signal(q.Name)}, sql: q.read, scan: q.scan, query: &q})
	}
	return wanted
}

// reader reads the parts in one transaction: all those that worked last time in one round trip, and each of the others in a
// savepoint of its own, because an error ends a transaction.
type reader struct {
	db      *pg.DB
	parts   []*part
	suspect map[*part]bool
}

func newReader(db *pg.DB, limits *Limits) *reader {
	return &reader{db: db, parts: parts(limits), suspect: map[*part]bool{}}
}

// read returns what it could read, or an error when that is nothing.
func (r *reader) read(ctx context.Context, l look) (*reading, error) {
	settings := []pg.Setting{pg.Timeout("lock_timeout", statementTimeout), pg.Timeout("statement_timeout", statementTimeout)}
	for {
		found := newReading()
		var bad *part
		err := r.db.Tx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, settings, func(tx pgx.Tx) (err error) {
			if l.major, err = serverMajor(tx); err != nil {
				return err
			}
			if bad, err = r.together(ctx, tx, &l, found); err != nil {
				return err
			}
			return r.apart(ctx, tx, &l, found)
		})
		if bad == nil {
			return found, err
		}
		r.suspect[bad] = true
	}
}

// together reads all parts that are beyond suspicion. When the server refuses one, it returns that with the error.
func (r *reader) together(ctx context.Context, tx pgx.Tx, l *look, found *reading) (bad *part, err error) {
	var batch pgx.Batch
	var queued []*part
	for _, p := range r.parts {
		if !r.suspect[p] {
			sql, args := p.sql(l)
			batch.Queue(sql, args...)
			queued = append(queued, p)
		}
	}
	if len(queued) == 0 {
		return nil, nil
	}
	results := tx.SendBatch(ctx, &batch)
	defer func() {
		if closeErr := results.Close(); err == nil {
			err = closeErr
		}
	}()
	for _, p := range queued {
		rows, err := results.Query()
		if err == nil {
			err = p.scan(rows, found)
			rows.Close()
		}
		switch {
		case isStatementError(err):
			return p, err
		case err != nil && isLost(ctx, err):
			return nil, err
		case err != nil:
			found.fail(p, err)
		}
	}
	return nil, nil
}

// apart reads the others. One that works is beyond suspicion again.
func (r *reader) apart(ctx context.Context, tx pgx.Tx, l *look, found *reading) error {
	for _, p := range r.parts {
		if !r.suspect[p] {
			continue
		}
		err := alone(ctx, tx, p, l, found)
		switch {
		case err == nil:
			delete(r.suspect, p)
		case isLost(ctx, err):
			return err
		default:
			found.fail(p, err)
		}
	}
	return nil
}

// alone reads one part in a savepoint, which it takes back in any case.
func alone(ctx context.Context, tx pgx.Tx, p *part, l *look, found *reading) (err error) {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if rollbackErr := savepoint.Rollback(ctx); err == nil {
			err = rollbackErr
		}
	}()
	sql, args := p.sql(l)
	rows, err := savepoint.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	return p.scan(rows, found)
}

func (r *reading) fail(p *part, err error) {
	for _, s := range p.signals {
		r.failed[s] = err
	}
}

// drop leaves out parts from now on.
func (r *reader) drop(p *part) {
	delete(r.suspect, p)
	r.parts = slices.DeleteFunc(r.parts, func(other *part) bool { return other == p })
}

// isStatementError reports whether the server refused or ended one statement, and the session lives. A query with parameters
// is a protocol violation (SQLSTATE 08P01), and harmless, because it gets none.
func isStatementError(err error) bool {
	state := pg.SQLState(err)
	return state == "08P01" || (state != "" && !pg.IsConnectionLost(err))
}

// isLost reports whether nothing more can be read in this transaction.
func isLost(ctx context.Context, err error) bool {
	return ctx.Err() != nil || (pg.IsConnectionLost(err) && !isStatementError(err))
}

// isHidden reports whether the server will never show it to this role: managed services and relatives of PostgreSQL take
// away functions, or the right to call them (SQLSTATE 42501, 0A000, and 42883, 42P01, 42703 for what does not exist).
func isHidden(err error) bool {
	return slices.Contains([]string{"42501", "0A000", "42883", "42P01", "42703"}, pg.SQLState(err))
}

// serverMajor returns the server's major version, which it told when the session began.
func serverMajor(tx pgx.Tx) (major int, err error) {
	version := tx.Conn().PgConn().ParameterStatus("server_version")
	if _, err := fmt.Sscanf(version, "%d", &major); err != nil {
		return 0, errors.New("the server did not tell its version")
	}
	return major, nil
}
