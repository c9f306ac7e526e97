// Package preflight reads what a DBA looks up before touching a live table, in one short look at catalogs and statistics, and
// says what in it would hurt a change.
package preflight

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Report is what is known of a table at one moment.
type Report struct {
	Table  pg.TableName
	Server Server
	Role   Role
	Relation
	Size Size

	Columns      []Column
	Indexes      []Index
	Constraints  []Constraint
	ForeignKeys  []ForeignKey
	ReferencedBy []ForeignKey
	Triggers     []Trigger
	Policies     []Policy
	Dependants   []Dependant

	Publications []Publication
	Slots        []Slot
	Standbys     []Standby

	Locks []Lock
	// LongestTransaction is the session whose transaction in the database has been open for the longest time; nil when there is none.
	LongestTransaction *pg.Session
	// OldestSnapshot is how many transactions ago the oldest snapshot in the database was taken, or its oldest transaction began.
	OldestSnapshot int64
	Prepared       []Prepared
	Vacuums        []Vacuum
	IndexBuilds    []IndexBuild

	Stages []Stage

	Hazards []Hazard
	// Blockers says on a line each why a statement that needs ACCESS EXCLUSIVE would have to wait now.
	Blockers []string
	// Unseen says in sentences what the role could not see, and what would change that.
	Unseen []string
}

// Ready reports whether nothing would make a statement wait now that needs ACCESS EXCLUSIVE on the table.
func (r *Report) Ready() bool { return len(r.Blockers) == 0 && !r.Server.Standby }

const (
	// lockTimeout bounds the wait for ACCESS SHARE, which sizes and expressions need. Whoever keeps it waiting is in the report.
	lockTimeout = 100 * time.Millisecond
	// statementTimeout bounds each read; they take milliseconds.
	statementTimeout = 5 * time.Second
)

// Look reads everything. It changes nothing, and waits for nobody.
func Look(ctx context.Context, env *stage.Env, name pg.TableName, limits Limits) (*Report, error) {
	r := &Report{Table: name}
	var t *target
	err := short(ctx, env, func(tx pgx.Tx) (err error) {
		if t, err = r.readTarget(ctx, tx, env); err != nil {
			return err
		}
		for _, p := range r.parts(env, t) {
			if err := r.attempt(ctx, tx, t, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := r.lookAgain(ctx, env, t, limits); err != nil {
		return nil, err
	}
	r.judge(limits)
	return r, nil
}

func short(ctx context.Context, env *stage.Env, fn func(tx pgx.Tx) error) error {
	settings := []pg.Setting{pg.Timeout("lock_timeout", lockTimeout), pg.Timeout("statement_timeout", statementTimeout)}
	return env.DB.Tx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, settings, fn)
}

// part is something that may be hidden while the rest can be seen.
type part struct {
	what string
	read func(ctx context.Context, tx pgx.Tx) error
}

func (r *Report) parts(env *stage.Env, t *target) []part {
	on := func(what string, read func(context.Context, pgx.Tx, *target) error) part {
		return part{what, func(ctx context.Context, tx pgx.Tx) error { return read(ctx, tx, t) }}
	}
	return []part{
		// Locks come first: what follows takes ACCESS SHARE for a moment.
		on("Locks", r.readLocks),
		on("Running VACUUM and ANALYZE", r.readVacuums), on("Running CREATE INDEX", r.readIndexBuilds),
		on("Transactions", r.readTransactions), on("Prepared transactions", r.readPrepared),
		on("Size and statistics", r.readStatistics), on("Columns", r.readColumns), on("Indexes", r.readIndexes),
		on("Constraints", r.readConstraints), on("Foreign keys", r.readForeignKeys), on("Triggers", r.readTriggers),
		on("Policies", r.readPolicies), on("Views and functions", r.readDependants),
		on("Publications", r.readPublications), on("Replication slots", r.readSlots), on("Standbys", r.readStandbys),
		{"Stages in the ledger", func(ctx context.Context, tx pgx.Tx) error { return r.readStages(ctx, tx, env, t) }},
	}
}

// attempt reads a part in a savepoint. What the role may not read, or cannot without waiting, is named instead.
func (r *Report) attempt(ctx context.Context, tx pgx.Tx, t *target, p part) error {
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error { return p.read(ctx, savepoint) })
	switch {
	case err == nil:
	case pg.IsLockTimeout(err):
		r.Unseen = append(r.Unseen, fmt.Sprintf("%s, because somebody holds or waits for ACCESS EXCLUSIVE on the table: see locks.", p.what))
	case pg.IsStatementTimeout(ctx, err):
		r.Unseen = append(r.Unseen, fmt.Sprintf("%s, because reading took longer than %s.", p.what, statementTimeout))
	case pg.IsInsufficientPrivilege(err):
		r.Unseen = append(r.Unseen, fmt.Sprintf("%s: %s. To let the role see it: %s", p.what, serverSays(err), t.monitorGrant()))
	default:
		return fmt.Errorf("read %s of %s: %w", lowerFirst(p.what), r.Table, err)
	}
	return nil
}

// unlessLocked reads with what needs ACCESS SHARE on the table, and without it when that cannot be had at once.
func (r *Report) unlessLocked(ctx context.Context, tx pgx.Tx, what string, read func(tx pgx.Tx, locked bool) error) error {
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error { return read(savepoint, false) })
	if !pg.IsLockTimeout(err) {
		return err
	}
	r.Unseen = append(r.Unseen, fmt.Sprintf("%s, because somebody holds or waits for ACCESS EXCLUSIVE on the table: see locks.", what))
	return read(tx, true)
}

// orNull is SQL for an expression that locks the table, or for NULL when it is locked.
func orNull(expression string, locked bool) string {
	if locked {
		return "NULL::text"
	}
	return expression
}
