package pg

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Session is a session of the server, or a prepared transaction, as an operator needs to know it.
type Session struct {
	PID         int32 // 0 for a prepared transaction
	User        string
	Application string // the identifier of a prepared transaction
	Backend     string
	State       string
	Query       string
	// Age is how long its transaction has been open; negative when the role may not see that.
	Age Seconds
}

// Seconds is a duration as the server gives it.
type Seconds float64

// Duration returns it in Go's terms.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// Targets returns where to scan the columns pid, user, application, backend type, state, query and age.
func (s *Session) Targets() []any {
	return []any{&s.PID, &s.User, &s.Application, &s.Backend, &s.State, &s.Query, (*float64)(&s.Age)}
}

// Blockers returns the sessions that the backend with that pid is waiting for.
func Blockers(ctx context.Context, tx pgx.Tx, pid int32) ([]Session, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT ON (b.pid) b.pid, coalesce(a.usename, '')::text, coalesce(a.application_name, ''),
		       coalesce(a.backend_type, ''), coalesce(a.state, ''), coalesce(left(a.query, 200), ''),
		       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), -1)::float8
		  FROM unnest(pg_blocking_pids($1)) AS b(pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid`, pid)
	if err != nil {
		return nil, fmt.Errorf("look who blocks: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Session, err error) {
		return s, row.Scan(s.Targets()...)
	})
}

// String describes the session on one line, with what an operator needs to find it.
func (s Session) String() string {
	var parts []string
	if s.PID == 0 {
		parts = append(parts, fmt.Sprintf("prepared transaction %q", s.Application))
	} else {
		parts = append(parts, fmt.Sprintf("pid %d", s.PID))
		if s.Application != "" {
			parts = append(parts, fmt.Sprintf("application %q", s.Application))
		}
		if s.Backend != "" && s.Backend != "client backend" {
			parts = append(parts, s.Backend)
		}
	}
	if s.User != "" {
		parts = append(parts, "user "+s.User)
	}
	if s.State != "" {
		parts = append(parts, s.State)
	}
	if s.Age >= 0 {
		parts = append(parts, "open for "+s.Age.Duration().Round(time.Second/10).String())
	}
	if s.Query != "" && s.Query != "<insufficient privilege>" {
		parts = append(parts, "last query: "+strings.Join(strings.Fields(s.Query), " "))
	}
	return strings.Join(parts, ", ")
}

// Remedy is the statement with which an operator can end the session.
func (s Session) Remedy() string {
	if s.PID == 0 {
		return fmt.Sprintf("ROLLBACK PREPARED %s;", Literal(s.Application))
	}
	return fmt.Sprintf("SELECT pg_terminate_backend(%d);", s.PID)
}
