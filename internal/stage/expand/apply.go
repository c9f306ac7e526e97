package expand

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// State is what can be observed of an expand: the columns that are there, in the user's words where those still hold.
type State struct {
	Columns map[string]Column
}

var _ stage.Stage[State] = (*Spec)(nil)

// Apply adds the columns that are missing, drops those that are no longer wanted, changes defaults, and types where that was
// accepted, in one transaction.
func (s *Spec) Apply(ctx context.Context, env *stage.Env) (State, error) {
	if err := env.Ledger.Ensure(ctx, env.DB); err != nil {
		return State{}, err
	}
	var found *inspection
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		found, err = s.inspect(ctx, tx, env)
		return err
	})
	if err != nil {
		return State{}, err
	}
	if err := s.guard(ctx, env, func(name string) bool { _, wanted := s.Columns[name]; return !wanted }); err != nil {
		return State{}, err
	}
	change := ddl.Change{
		Title: "Adding columns to " + s.describe(s.Names()), Table: found.table, Lock: ddl.AccessExclusive, Rewrites: len(found.rewrites) > 0,
		Work: func(ctx context.Context, tx pgx.Tx) error { return s.work(ctx, tx, env, found) },
	}
	if err := env.Runner.Run(ctx, change); err != nil {
		return State{}, err
	}
	return State{Columns: s.Columns}, nil
}

// work runs under the lock. All it finds done already stays, so that it may run again after a lost commit.
func (s *Spec) work(ctx context.Context, tx pgx.Tx, env *stage.Env, found *inspection) error {
	record, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnExpand, s.ID)
	if err != nil {
		return err
	}
	before, err := pg.ReadTable(ctx, tx, s.Table)
	if err != nil {
		return err
	}
	owned, err := s.owned(before, record)
	if err != nil {
		return err
	}
	for _, name := range s.Names() {
		if err := s.bringAbout(ctx, tx, before, owned, found, name); err != nil {
			return err
		}
	}
	for _, name := range stage.SortedKeys(owned) {
		if _, wanted := s.Columns[name]; !wanted {
			if err := s.exec(ctx, tx, s.drop(name)); err != nil {
				return err
			}
		}
	}
	after, err := pg.ReadTable(ctx, tx, s.Table)
	if err != nil {
		return err
	}
	if len(found.rewrites) == 0 {
		if err := refuseRewrite(before, after); err != nil {
			return err
		}
	}
	return s.record(ctx, tx, env, after)
}

// bringAbout adds one column, or brings an existing one of ours in line.
func (s *Spec) bringAbout(ctx context.Context, tx pgx.Tx, table *pg.Table, owned owned, found *inspection, name string) error {
	column := s.Columns[name]
	existing, exists := table.Column(name)
	if !exists {
		return s.exec(ctx, tx, s.add(name))
	}
	if _, ours := owned[name]; !ours {
		return s.alreadyThere(name)
	}
	resolved, err := expression.ResolveType(ctx, tx, column.Type)
	if err != nil {
		return err
	}
	_, accepted := found.rewrites[name]
	if (!existing.Type.Equal(resolved) && !accepted) || (column.NotNull && !existing.NotNull) {
		return finding.New(fmt.Sprintf("Column %s is not as planned", s.Table.Column(name)),
			fmt.Sprintf("It is of type %s (NOT NULL: %t). Somebody changed it since the plan; plan again.", existing.Type.SQL, existing.NotNull))
	}
	alter := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s ", s.Table.SQL(), pg.Quote(name))
	var statements []string
	switch {
	case !existing.Type.Equal(resolved):
		statements = append(statements, s.retype(name, existing.Default != ""))
	case column.Default != "":
		statements = append(statements, alter+"SET DEFAULT "+expression.Parenthesize(column.Default))
	case existing.Default != "":
		statements = append(statements, alter+"DROP DEFAULT")
	}
	if existing.NotNull && !column.NotNull {
		statements = append(statements, alter+"DROP NOT NULL")
	}
	for _, sql := range statements {
		if err := s.exec(ctx, tx, sql); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spec) exec(ctx context.Context, tx pgx.Tx, sql string) error {
	return ddl.Exec(ctx, tx, "Table "+s.Table.String(), sql)
}

// refuseRewrite is the last line of defence: a relation that got a new file was rewritten, and the transaction must not
// keep the lock for that.
func refuseRewrite(before, after *pg.Table) error {
	filenodes := make(map[uint32]uint32, len(before.Leaves))
	for _, leaf := range before.Leaves {
		filenodes[leaf.OID] = leaf.Filenode
	}
	for _, leaf := range after.Leaves {
		if was, known := filenodes[leaf.OID]; known && was != leaf.Filenode {
			return finding.New(fmt.Sprintf("The server rewrote %s to add the columns", leaf.Name),
				"That takes an ACCESS EXCLUSIVE lock for as long as the table is large, so it was rolled back. Add the columns without the "+
					"default that makes it necessary.")
		}
	}
	return nil
}

func (s *Spec) record(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table) error {
	columns := make(owned, len(s.Columns))
	var numbers []int16
	for _, name := range s.Names() {
		c, _ := table.Column(name)
		columns[name] = added{Attnum: c.Attnum, Default: c.Default}
		numbers = append(numbers, c.Attnum)
	}
	document, err := stage.Encode(s)
	if err != nil {
		return err
	}
	undo, err := stage.Encode(columns)
	if err != nil {
		return err
	}
	return env.Ledger.Put(ctx, tx, &ledger.Stage{
		Kind: ledger.ColumnExpand, Key: s.ID, TableOID: table.OID, Table: s.Table,
		Spec: document, Writes: numbers, Status: ledger.Complete, Undo: undo,
	})
}

// Read returns the columns of the expand that are there. A column that a contract has taken away since counts as there.
func (s *Spec) Read(ctx context.Context, env *stage.Env) (state *State, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.ColumnExpand, s.ID)
		if err != nil {
			return err
		}
		if record != nil && record.Retired() {
			state = &State{Columns: s.Columns}
			return nil
		}
		table, err := env.DescribeTable(ctx, tx, s.Table, record)
		if errors.Is(err, pg.ErrNoTable) && (record == nil || pg.IsGone(ctx, tx, record.TableOID)) {
			return nil
		}
		if err != nil {
			return err
		}
		recorded, err := s.owned(table, record)
		if err != nil {
			return err
		}
		columns := make(map[string]Column)
		for name, wanted := range s.Columns {
			c, exists := table.Column(name)
			switch {
			case exists:
				if columns[name], err = observe(ctx, tx, wanted, c, recorded[name]); err != nil {
					return err
				}
			case wanted.Type == "": // It comes from the identifier of an import.
				return finding.New(fmt.Sprintf("Column %s does not exist", s.Table.Column(name)), "Only columns that are there can be imported.")
			}
		}
		if len(columns) > 0 {
			state = &State{Columns: columns}
		}
		return nil
	})
	return state, err
}

// observe describes a column in the user's words where they mean what is there.
func observe(ctx context.Context, tx pgx.Tx, wanted Column, is pg.Column, recorded added) (Column, error) {
	seen := Column{Type: is.Type.SQL, Default: is.Default, NotNull: is.NotNull}
	if wanted.Type != is.Type.SQL {
		resolved, err := expression.ResolveType(ctx, tx, wanted.Type)
		var f *finding.Finding
		if err != nil && !errors.As(err, &f) {
			return seen, err
		}
		if err == nil && resolved.Equal(is.Type) {
			seen.Type = wanted.Type
		}
	}
	if recorded.Default == is.Default && (wanted.Default == "") == (is.Default == "") {
		seen.Default = wanted.Default
	}
	return seen, nil
}
