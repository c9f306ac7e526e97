package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Probe tries every signal once and returns a warning for each that the role cannot see on this server, if there is something to
// see. The error holds a finding for each query of the user's own that does not run. tx stays usable, and nothing in it changes.
func Probe(ctx context.Context, tx pgx.Tx, limits Limits) ([]*finding.Finding, error) {
	if err := limits.checkNames(); err != nil {
		return nil, err
	}
	l := &look{limits: &limits, relations: []int64{}, tracked: []int64{}}
	var role string
	if err := tx.QueryRow(ctx, `SELECT current_user`).Scan(&role); err != nil {
		return nil, fmt.Errorf("try the throttle signals: %w", err)
	}
	var err error
	if l.major, err = serverMajor(tx); err != nil {
		return nil, err
	}
	found := newReading()
	var warnings []*finding.Finding
	var wrong []error
	for _, p := range parts(&limits) {
		err := try(ctx, tx, p, l, found)
		switch {
		case err == nil:
		case isLost(ctx, err):
			return nil, fmt.Errorf("try the throttle signals: %w", err)
		case p.query != nil:
			if f := p.query.explain(err); f != nil {
				wrong = append(wrong, f)
			}
		case isHidden(err) || pg.IsStatementTimeout(ctx, err):
			warnings = append(warnings, unreadable(role, limits.among(p.signals), err))
		default:
			return nil, fmt.Errorf("try the throttle signals: %w", err)
		}
	}
	if found.standbys != nil {
		if f := hiddenFigures(role, limits.among([]Signal{ReplicaLag, SyncLag}), hiddenStandbys(found.standbys)); f != nil {
			warnings = append(warnings, f)
		}
	}
	return warnings, errors.Join(wrong...)
}

// try reads a part as the monitor will, in a savepoint that is taken back with its settings.
func try(ctx context.Context, tx pgx.Tx, p *part, l *look, found *reading) (err error) {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if rollbackErr := savepoint.Rollback(ctx); err == nil {
			err = rollbackErr
		}
	}()
	timeout := pg.Timeout("statement_timeout", statementTimeout)
	_, err = savepoint.Exec(ctx, `SELECT set_config('transaction_read_only', 'on', true), set_config($1, $2, true)`, timeout.Name, timeout.Value)
	if err != nil {
		return err
	}
	return alone(ctx, savepoint, p, l, found)
}

// checkNames refuses queries that could not be told apart in a reason.
func (l *Limits) checkNames() error {
	taken := map[Signal]bool{"": true}
	for _, s := range builtIn {
		taken[s] = true
	}
	var wrong []error
	for _, q := range l.Queries {
		if taken[Signal(q.Name)] {
			wrong = append(wrong, finding.New(fmt.Sprintf("Throttle query has the name %q, which it cannot have", q.Name),
				"The name says in progress reports why batches wait. It must not be empty, the name of another query or that of a signal."))
		}
		taken[Signal(q.Name)] = true
	}
	return errors.Join(wrong...)
}

// among returns those of the signals that are switched on.
func (l *Limits) among(signals []Signal) []Signal {
	on := l.signals()
	return slices.DeleteFunc(slices.Clone(signals), func(s Signal) bool { return !slices.Contains(on, s) })
}

// explain says what is wrong with the query; nil when it may be right at another time.
func (q Query) explain(err error) *finding.Finding {
	summary := fmt.Sprintf("Throttle query %s does not run", q.Name)
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e) && e.Code == "57014":
		return finding.New(fmt.Sprintf("Throttle query %s takes longer than %s", q.Name, seconds(statementTimeout)),
			finding.Paragraphs("It runs about once a second during the backfill, so that it must be quick. It is:\n\n"+finding.Indent(q.SQL),
				"SQLSTATE "+e.Code)).Because(err)
	case errors.As(err, &e):
		return finding.New(summary, finding.Paragraphs(fmt.Sprintf("The server says: %s.", e.Message), q.marked(int(e.Position)), e.Hint,
			"It must be a SELECT without parameters that gives one boolean, or one number. Batches wait while it is true, or above 0.",
			"SQLSTATE "+e.Code)).Because(err)
	case errors.Is(err, errNoValue):
		return nil // Whoever asks for the lag of something that is not there yet may get nothing.
	default:
		return finding.New(fmt.Sprintf("Throttle query %s gives no boolean and no number", q.Name),
			finding.Paragraphs("It was run once, and "+err.Error()+":\n\n"+finding.Indent(q.SQL),
				"It must give one boolean, or one number. Batches wait while it is true, or above 0.")).Because(err)
	}
}

// marked is the query with a mark under the place that the server complains of; position counts from 1.
func (q Query) marked(position int) string {
	at := position - 1 - wrappedBefore
	if at < 0 || at > utf8.RuneCountInString(q.SQL) {
		return finding.Indent(q.SQL)
	}
	var lines []string
	for line := range strings.SplitSeq(q.SQL, "\n") {
		lines = append(lines, line)
		if length := utf8.RuneCountInString(line); at >= 0 && at <= length {
			lines = append(lines, strings.Repeat(" ", at)+"^")
			at = -1
		} else if at >= 0 {
			at -= length + 1
		}
	}
	return finding.Indent(strings.Join(lines, "\n"))
}

// hiddenFigures is for standbys of which the role sees only that they are there.
func hiddenFigures(role string, signals []Signal, names []string) *finding.Finding {
	if len(names) == 0 || len(signals) == 0 {
		return nil
	}
	return finding.New(fmt.Sprintf("Role %s cannot see how far %s is behind", role, strings.Join(names, ", ")),
		finding.Paragraphs(fmt.Sprintf("pg_stat_replication shows the role that the standby is connected, and nothing else. The backfill goes on without %s: a "+
			"standby that falls behind does not slow it down.", listed(signals)), remedy(role)))
}

// unreadable is for what the server refuses to tell.
func unreadable(role string, signals []Signal, err error) *finding.Finding {
	message := err.Error()
	var e *pgconn.PgError
	if errors.As(err, &e) {
		message = e.Message
	}
	text := remedy(role)
	if !pg.IsInsufficientPrivilege(err) {
		text = ""
	}
	return finding.New(fmt.Sprintf("Role %s cannot read %s", role, listed(signals)),
		finding.Paragraphs(fmt.Sprintf("The server says: %s. The backfill does without, and does not slow down because of it.", message), text,
			"SQLSTATE "+pg.SQLState(err))).Because(err)
}

func remedy(role string) string {
	return "A superuser, or the administrator of a managed service, can let the role see it:\n\n  GRANT pg_monitor TO " + pg.Quote(role) + ";"
}

func listed(signals []Signal) string {
	names := make([]string, len(signals))
	for i, s := range signals {
		names[i] = string(s)
	}
	if len(names) == 1 {
		return "the throttle signal " + names[0]
	}
	return "the throttle signals " + strings.Join(names, ", ")
}
