package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// State is what can be observed of a contract.
type State struct {
	Spec Spec
}

var _ stage.Stage[State] = (*Spec)(nil)

// proofLasts is how old a proof may be when the lock is had at last. An older one is made again.
const proofLasts = time.Minute

// errProofTooOld sends the apply back to the gates.
var errProofTooOld = errors.New("the proof is too old")

// Apply passes the gates and takes the columns away, in one transaction.
func (s *Spec) Apply(ctx context.Context, env *stage.Env) (State, error) {
	if err := env.Ledger.Ensure(ctx, env.DB); err != nil {
		return State{}, err
	}
	for {
		err := s.apply(ctx, env)
		if err == nil {
			return State{Spec: *s}, nil
		}
		if !errors.Is(err, errProofTooOld) {
			return State{}, err
		}
	}
}

func (s *Spec) apply(ctx context.Context, env *stage.Env) error {
	var found *inspection
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		if found, err = s.inspect(ctx, tx, env); err != nil || found.done {
			return err
		}
		functions, err := readFunctions(ctx, tx, found.table, s.Columns)
		if err != nil {
			return err
		}
		return s.checkFunctions(functions)
	})
	if err != nil || found.done {
		return err
	}
	if err := s.prove(ctx, env, found.readers); err != nil {
		return err
	}
	proven := time.Now()
	return env.Runner.Run(ctx, ddl.Change{
		Title: fmt.Sprintf("%s of columns of %s", s.noun(), s.describe()), Table: found.table, Lock: ddl.AccessExclusive,
		Work: func(ctx context.Context, tx pgx.Tx) error {
			if time.Since(proven) > proofLasts {
				return errProofTooOld
			}
			return s.work(ctx, tx, env, found.readers)
		},
	})
}

// work runs under the lock: it looks once more at all that can have changed, and takes the columns away.
func (s *Spec) work(ctx context.Context, tx pgx.Tx, env *stage.Env, proven []*ledger.Stage) error {
	if _, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnContract, s.ID); err != nil {
		return err
	}
	found, err := s.inspect(ctx, tx, env)
	if err != nil || found.done {
		return err
	}
	for _, reader := range found.readers {
		same := slices.ContainsFunc(proven, func(p *ledger.Stage) bool { return p.ID == reader.ID && bytes.Equal(p.Spec, reader.Spec) })
		if !same || reader.Status != ledger.Complete {
			return errProofTooOld
		}
	}
	now := *s
	now.Prior = ""
	for i, name := range s.Columns {
		if found.columns[i].Name != name {
			now.Prior = Quarantine
		}
	}
	for _, statement := range now.Preview() {
		if _, err := tx.Exec(ctx, statement.SQL); err != nil {
			return fmt.Errorf("%s: %w", statement.SQL, err)
		}
	}
	document, err := stage.Encode(s)
	if err != nil {
		return err
	}
	columns := make(undo, len(s.Columns))
	numbers := make([]int16, len(s.Columns))
	for i, name := range s.Columns {
		c := found.columns[i]
		numbers[i], columns[name] = c.Attnum, taken{Attnum: c.Attnum, NotNull: c.NotNull || found.undo[name].NotNull}
	}
	undo, err := stage.Encode(columns)
	if err != nil {
		return err
	}
	record := &ledger.Stage{
		Kind: ledger.ColumnContract, Key: s.ID, TableOID: found.table.OID, Table: s.Table, Spec: document,
		Writes: numbers, Status: ledger.Complete, Undo: undo,
	}
	if err := env.Ledger.Put(ctx, tx, record); err != nil {
		return err
	}
	return env.Ledger.Retire(ctx, tx, record, numbers)
}

// Read returns the contract as the ledger has it, or nil when it does not stand: nobody made it, the table is gone, or a
// column is back under its old name. A table that was restored from a dump has another OID, and the contract still stands.
func (s *Spec) Read(ctx context.Context, env *stage.Env) (state *State, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.ColumnContract, s.ID)
		if err != nil || record == nil {
			return err
		}
		table, err := env.ReadTable(ctx, tx, s.Table, record)
		if errors.Is(err, pg.ErrNoTable) && pg.IsGone(ctx, tx, record.TableOID) {
			return nil
		}
		if err != nil {
			return err
		}
		spec, err := stage.Decode[Spec](record.Spec)
		if err != nil {
			return err
		}
		for _, name := range spec.Columns {
			if _, back := table.Column(name); back {
				return nil
			}
		}
		state = &State{Spec: spec}
		return nil
	})
	return state, err
}
