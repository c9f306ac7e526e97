package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// insistEvery is the pause between two attempts at a table that somebody has locked even for readers of its definition.
const insistEvery = 500 * time.Millisecond

// Insist runs fn again for RetryFor while all that is wrong is that somebody has locked the table.
func (env *Env) Insist(ctx context.Context, table pg.TableName, fn func() error) error {
	for started := time.Now(); ; {
		err := fn()
		if ctx.Err() != nil || !isHeldUp(err) {
			return err
		}
		if time.Since(started) >= env.RetryFor {
			return env.ExplainLock(ctx, table, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(insistEvery):
		}
	}
}

// isHeldUp reports whether a lock was not to be had, and nobody has said yet who holds it.
func isHeldUp(err error) bool {
	var explained *finding.Finding
	return pg.IsContention(err) && !errors.As(err, &explained)
}

// ExplainLock names who has locked the table when the error is that somebody has. Any other error it returns as it is.
func (env *Env) ExplainLock(ctx context.Context, table pg.TableName, cause error) error {
	if !isHeldUp(cause) {
		return cause
	}
	var holders []pg.Session
	err := env.DB.Look(ctx, func(tx pgx.Tx) error {
		// Nothing less keeps out who only reads the definition.
		rows, err := tx.Query(ctx, `
			SELECT `+pg.HolderColumns+`
			  FROM `+pg.Holders+`
			 WHERE `+pg.OnRelations+` AND l.relation = to_regclass($1) AND l.granted AND l.mode = 'AccessExclusiveLock'`, table.SQL())
		if err != nil {
			return err
		}
		holders, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s pg.Session, err error) { return s, row.Scan(s.Targets()...) })
		return err
	})
	if err != nil {
		env.Log.WarnContext(ctx, "could not find out who holds a lock", "error", err)
	}
	found := "Nothing was changed, because not even its definition can be read meanwhile."
	act := "Try again when that has ended."
	if len(holders) > 0 {
		who, remedies := make([]string, len(holders)), ""
		for i, h := range holders {
			who[i] = h.String()
			remedies += h.Remedy() + "\n"
		}
		found += "\n\nIt is held by:\n" + finding.List(who)
		act = "Try again when they have ended, or end them:\n\n" + finding.Indent(remedies)
	}
	return finding.New(fmt.Sprintf("Table %s is locked by others", table), finding.Paragraphs(found, act, "SQLSTATE "+pg.SQLState(cause))).Because(cause)
}

// IsOvertaken reports whether something went away between two looks at it, such as by another apply that does the same: its name is
// unknown, or the server has a row of the catalogs but no description. A name that was wrong from the start has a finding.
func IsOvertaken(err error) bool {
	var explained *finding.Finding
	var undescribed pgx.ScanArgError
	gone := slices.Contains([]string{"42703", "42704", "42P01"}, pg.SQLState(err)) || errors.As(err, &undescribed)
	return gone && !errors.As(err, &explained)
}
