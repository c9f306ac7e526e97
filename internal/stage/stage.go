// Package stage defines what the stages of a column change have in common. Each stage is a package below: what it
// means, what it runs, and how it is undone.
package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Stage is one step of a column change. State is what can be observed of it in the database.
type Stage[State any] interface {
	// Preview returns what Apply runs. It is a pure function of the stage, so that a plan can show it.
	Preview() []ddl.Statement
	// Hazards returns what the reviewer should weigh. It is pure as well, so that a policy can check it.
	Hazards() []ddl.Hazard
	// Check compares the stage with the live database before it is applied. An error refuses the plan; the findings are
	// live facts for the reviewer. It writes nothing.
	Check(ctx context.Context, env *Env) ([]*finding.Finding, error)
	// Apply brings the stage about, or goes on where an interrupted Apply stopped. It trusts nothing that Check saw. A
	// State that comes with an error is what has been done so far.
	Apply(ctx context.Context, env *Env) (State, error)
	// Read observes the stage, or returns nil when it is not there.
	Read(ctx context.Context, env *Env) (*State, error)
	// CheckRevert says what Revert is going to do to the table, or refuses it.
	CheckRevert(ctx context.Context, env *Env) (*finding.Finding, error)
	// Revert undoes the stage. The findings say what it could not bring back.
	Revert(ctx context.Context, env *Env) ([]*finding.Finding, error)
}

// Env is what the stages work with.
type Env struct {
	DB     *pg.DB
	Ledger ledger.Ledger
	Runner *ddl.Runner
	Log    *slog.Logger
	// Holder names this process in leases.
	Holder string
	// RetryFor is how long a contended row or lock is tried again before the stage gives up.
	RetryFor time.Duration
	Planned  *Planned
}

// WithoutPlans returns what an apply works with that must not count on what is only planned.
func (env *Env) WithoutPlans() *Env {
	applying := *env
	applying.Planned = &Planned{}
	return &applying
}

// Planned remembers which columns the stages of one plan are going to add, so that later stages of the same plan can
// compile expressions against them, and which columns they are going to sync.
type Planned struct {
	mu      sync.Mutex
	columns map[pg.TableName]map[string]string
	synced  map[string]bool // by the full name of the column
}

// Sync notes that the columns of the table are going to be part of a sync.
func (p *Planned) Sync(table pg.TableName, columns ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.synced == nil {
		p.synced = make(map[string]bool)
	}
	for _, column := range columns {
		p.synced[table.Column(column)] = true
	}
}

// Synced reports whether the column is going to be part of a sync.
func (p *Planned) Synced(table pg.TableName, column string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced[table.Column(column)]
}

// Add notes that the columns, given with their types, are going to be added to the table.
func (p *Planned) Add(table pg.TableName, columns map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.columns == nil {
		p.columns = make(map[pg.TableName]map[string]string)
	}
	if p.columns[table] == nil {
		p.columns[table] = make(map[string]string)
	}
	maps.Copy(p.columns[table], columns)
}

// Columns returns the columns that are going to be added to the table, with their types.
func (p *Planned) Columns(table pg.TableName) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.columns[table])
}

// SortedKeys returns the keys of a map in order, so that SQL and messages come out the same every time.
func SortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Record returns the ledger's record of a stage, or nil when there is none. It works before the ledger exists.
func (env *Env) Record(ctx context.Context, tx pgx.Tx, kind ledger.Kind, key string) (*ledger.Stage, error) {
	exists, err := env.Ledger.Exists(ctx, tx)
	if err != nil || !exists {
		return nil, err
	}
	return env.Ledger.Stage(ctx, tx, kind, key)
}

// RecordsOf returns the ledger's records of a table, oldest first. It works before the ledger exists.
func (env *Env) RecordsOf(ctx context.Context, tx pgx.Tx, table *pg.Table) ([]*ledger.Stage, error) {
	exists, err := env.Ledger.Exists(ctx, tx)
	if err != nil || !exists {
		return nil, err
	}
	return env.Ledger.StagesOf(ctx, tx, table.OID)
}

// ReadTable reads a table. When it is not there under its name but the ledger knows it by its OID, the finding says how
// it is called now, and is no ErrNoTable: an undo that took the table for dropped would leave what it has to undo.
func (env *Env) ReadTable(ctx context.Context, tx pgx.Tx, name pg.TableName, record *ledger.Stage) (*pg.Table, error) {
	return tableBy(ctx, tx, pg.ReadTable, name, record)
}

// DescribeTable is ReadTable without the sizes. It waits for nobody.
func (env *Env) DescribeTable(ctx context.Context, tx pgx.Tx, name pg.TableName, record *ledger.Stage) (*pg.Table, error) {
	return tableBy(ctx, tx, pg.DescribeTable, name, record)
}

func tableBy(
	ctx context.Context, tx pgx.Tx, read func(context.Context, pgx.Tx, pg.TableName) (*pg.Table, error), name pg.TableName, record *ledger.Stage,
) (*pg.Table, error) {
	table, err := read(ctx, tx, name)
	if record == nil || !errors.Is(err, pg.ErrNoTable) {
		return table, err
	}
	now, ok, lookErr := pg.CurrentName(ctx, tx, record.TableOID)
	if lookErr != nil {
		return nil, lookErr
	}
	if ok && now != name {
		return nil, finding.New(fmt.Sprintf("Table %s is now called %s", name, now),
			fmt.Sprintf("The ledger knows the table of this stage by its OID (%d), and it was renamed since.\n\nRename it back, or "+
				"move the stage to the new name:\n\n  ALTER TABLE %s RENAME TO %s;", record.TableOID, now.SQL(), pg.Quote(name.Name))).
			At("table")
	}
	return nil, err
}

// Decode reads a JSON document of the ledger.
func Decode[T any](document json.RawMessage) (T, error) {
	var v T
	if err := json.Unmarshal(document, &v); err != nil {
		return v, fmt.Errorf("read the ledger: %w", err)
	}
	return v, nil
}

// Encode writes a JSON document for the ledger.
func Encode(v any) (json.RawMessage, error) {
	document, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write the ledger: %w", err)
	}
	return document, nil
}
