package usage

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Silence is the answer to the question whether statements have left the columns alone for some time.
type Silence struct {
	// Busy are the certain statements that have run within that time, as far as the looks can tell.
	Busy []Statement
	// Since is since when it is known what runs; nil when nothing was stored or counted yet.
	Since *time.Time
	// Enough means that Since is as long ago as was asked.
	Enough bool
	// Gaps says what could not be seen.
	Gaps []string
}

// Quiet judges whether a statement that certainly uses the columns has run within the duration before the look. A statement
// counts from the look that first found its present number of calls, which may be later than it ran. While there was no such
// statement at all, the server's own count tells how long that has been so.
func (r *Report) Quiet(duration time.Duration) Silence {
	s := Silence{Since: r.FirstLook, Gaps: r.Coverage}
	from := r.At.Add(-duration)
	certain := false
	for _, statement := range r.Statements {
		if !statement.Certain {
			continue
		}
		certain = true
		if statement.ChangedAt.After(from) {
			s.Busy = append(s.Busy, statement)
		}
	}
	if !certain && len(r.Coverage) == 0 && r.CountedSince != nil && (s.Since == nil || r.CountedSince.Before(*s.Since)) {
		s.Since = r.CountedSince
	}
	s.Enough = s.Since != nil && !s.Since.After(from)
	return s
}

type statementKey struct {
	role  uint32
	query int64
}

// compare adds what a stored look tells.
func (r *Report) compare(ctx context.Context, tx pgx.Tx, env *stage.Env, t *target) (err error) {
	if r.FirstLook, r.LastLook, err = env.Ledger.ColumnLooks(ctx, tx, t.table.OID, t.numbers()); err != nil {
		return err
	}
	looks, err := env.Ledger.StatementLooks(ctx, tx, t.table.OID)
	if err != nil {
		return err
	}
	stored := make(map[statementKey]ledger.StatementLook)
	for _, look := range looks {
		stored[statementKey{look.RoleOID, look.QueryID}] = look
	}
	for i := range r.Statements {
		s := &r.Statements[i]
		s.ChangedAt = r.At
		was, known := stored[statementKey{s.RoleOID, s.QueryID}]
		if known && was.Calls == s.Calls {
			s.ChangedAt = was.ChangedAt
		}
		if r.LastLook == nil {
			continue
		}
		since := s.Calls - was.Calls
		if since < 0 { // The counters were reset.
			since = s.Calls
		}
		s.CallsSince = &since
	}
	return nil
}

// store keeps the calls for a later look.
func (r *Report) store(ctx context.Context, tx pgx.Tx, env *stage.Env, t *target) error {
	looks := make([]ledger.StatementLook, len(r.Statements))
	for i, s := range r.Statements {
		looks[i] = ledger.StatementLook{RoleOID: s.RoleOID, QueryID: s.QueryID, Calls: s.Calls}
	}
	return env.Ledger.PutLook(ctx, tx, t.table.OID, t.numbers(), r.At, looks)
}
