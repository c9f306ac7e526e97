package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/expand"
)

// refreshFigures are of reading a large configuration, as every plan does.
type refreshFigures struct {
	Resources int `json:"resources"`
	// Statements is how many the server runs for all resources, those that begin and end transactions included.
	Statements int           `json:"statements"`
	Ways       []refreshment `json:"ways"`
}

type refreshment struct {
	Way         string  `json:"way"`
	Seconds     float64 `json:"seconds"`
	Connections int     `json:"connections"`
}

// The ways to connect that are compared.
const (
	sharedSessions = "sessions shared by all resources"
	ownSession     = "a connection for each resource"
)

const (
	// atOnce is how many resources Terraform reads at the same time, unless -parallelism says otherwise.
	atOnce = 10
	// refreshRounds is how often everything is measured; the fastest counts.
	refreshRounds = 3
)

// reader reads one stage from the database.
type reader func(ctx context.Context, env *stage.Env) error

func readerOf[O any](s stage.Stage[O]) reader {
	return func(ctx context.Context, env *stage.Env) error {
		state, err := s.Read(ctx, env)
		if err == nil && state == nil {
			err = errors.New("a stage is not there")
		}
		return err
	}
}

func runRefresh(ctx context.Context, b *bench) (err error) {
	database, err := b.server.CreateDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Drop(context.WithoutCancel(ctx))) }()
	b.say("refresh: making the stages of %d tables", b.tables)
	readers, err := makeStages(ctx, database, b.tables)
	if err != nil {
		return err
	}
	figures := &refreshFigures{Resources: len(readers), Ways: []refreshment{{Way: sharedSessions}, {Way: ownSession}}}
	for range refreshRounds {
		for i := range figures.Ways {
			if err := figures.Ways[i].measure(ctx, b.server, database, readers); err != nil {
				return fmt.Errorf("%s: %w", figures.Ways[i].Way, err)
			}
		}
	}
	if figures.Statements, err = countStatements(ctx, b.server, database, readers); err != nil {
		return err
	}
	b.report.Refresh = figures
	b.say("refresh: %d statements for %d resources", figures.Statements, figures.Resources)
	return nil
}

// makeStages makes a whole change for each table, short of its contract.
func makeStages(ctx context.Context, database *pgtest.Database, tables int) (readers []reader, err error) {
	env := newEnv(database.ConnString(), slog.New(slog.DiscardHandler))
	defer env.DB.Close()
	set := map[string]string{"label": "upper(name)"}
	for i := range tables {
		table := pg.TableName{Schema: "public", Name: fmt.Sprintf("table_%d", i)}
		if _, err := database.Owner.Exec(ctx, `CREATE TABLE `+table.SQL()+` (id bigint PRIMARY KEY, name text)`); err != nil {
			return nil, err
		}
		column := &expand.Spec{ID: pg.FormatID(table, []string{"label"}), Table: table, Columns: map[string]expand.Column{"label": {Type: "text"}}}
		sync := &dualwrite.Spec{
			ID: dualwrite.ID(table, set), Table: table, Forward: set, Conflict: dualwrite.KeepBoth, Schema: env.Ledger.Schema,
		}
		fill := &backfill.Spec{ID: backfill.ID(table, set), Table: table, Set: set}
		_, expanded := column.Apply(ctx, env)
		if expanded != nil {
			return nil, expanded
		}
		_, synced := sync.Apply(ctx, env)
		if synced != nil {
			return nil, synced
		}
		_, filled := fill.Apply(ctx, env)
		if filled != nil {
			return nil, filled
		}
		readers = append(readers, readerOf(column), readerOf(sync), readerOf(fill))
	}
	return readers, nil
}

// measure reads all stages once, and keeps the figures if that was faster than before.
func (r *refreshment) measure(ctx context.Context, server *pgtest.Server, database *pgtest.Database, readers []reader) error {
	before := len(server.Log())
	started := time.Now()
	err := refreshAll(ctx, database, readers, r.Way == sharedSessions)
	took := time.Since(started).Seconds()
	if r.Seconds == 0 || took < r.Seconds {
		r.Seconds = took
	}
	r.Connections = occurrences(server, before, authorized)
	return err
}

func refreshAll(ctx context.Context, database *pgtest.Database, readers []reader, share bool) error {
	shared := newEnv(database.ConnString(), slog.New(slog.DiscardHandler))
	defer shared.DB.Close()
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, read := range readers {
		group.Go(func() error {
			if share {
				return read(ctx, shared)
			}
			own := newEnv(database.ConnString(), slog.New(slog.DiscardHandler))
			defer own.DB.Close()
			return read(ctx, own)
		})
	}
	return group.Wait()
}

var (
	authorized = regexp.MustCompile(`connection authorized: .*application_name=` + applicationName)
	ran        = regexp.MustCompile(`app=` + applicationName + ` LOG:  (statement: [^-]|execute [^:]*:)`) // A pool's ping is a comment.
)

// countStatements lets the server log them.
func countStatements(ctx context.Context, server *pgtest.Server, database *pgtest.Database, readers []reader) (int, error) {
	if _, err := database.Super.Exec(ctx, `ALTER DATABASE `+pg.Quote(database.Name)+` SET log_statement = 'all'`); err != nil {
		return 0, err
	}
	before := len(server.Log())
	err := refreshAll(ctx, database, readers, true)
	return occurrences(server, before, ran), err
}

// occurrences counts the matches in what the server has logged since its log was that long.
func occurrences(server *pgtest.Server, since int, of *regexp.Regexp) int {
	return len(of.FindAllString(server.Log()[since:], -1))
}

func (f *refreshFigures) of(way string) (figures refreshment) {
	for _, w := range f.Ways {
		if w.Way == way {
			figures = w
		}
	}
	return figures
}

func (f *refreshFigures) print(to io.Writer) error {
	fmt.Fprintf(to, "\nReading %d resources, %d at once, with %.1f statements for each:\n\n", f.Resources, atOnce, float64(f.Statements)/float64(f.Resources))
	table := newTable(to, "", "seconds", "÷ shared", "connections")
	for _, w := range f.Ways {
		table.row(w.Way, seconds(w.Seconds), ratio(w.Seconds, f.of(sharedSessions).Seconds), count(int64(w.Connections)))
	}
	return table.flush()
}

func (f *refreshFigures) targets() []target {
	return []target{
		atMost("connections for all resources", float64(f.of(sharedSessions).Connections), maxConnections),
		atLeast("seconds with a connection for each resource ÷ with shared sessions", f.of(ownSession).Seconds/f.of(sharedSessions).Seconds, 2),
	}
}
