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
	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

// proofLasts is how old a proof may be when the lock is had at last. An older one is made again.
const proofLasts = time.Minute

// bookkeeping bounds the transactions that touch only the ledger.
var bookkeeping = []pg.Setting{pg.Timeout("lock_timeout", 5*time.Second), pg.Timeout("statement_timeout", 10*time.Second)}

// errProofTooOld sends the apply back to the gates.
var errProofTooOld = errors.New("the proof is too old")

// Apply passes the gates and puts the columns into quarantine, in one transaction. A drop then archives them and drops them in
// another one. Each step is recorded with its work, so that an Apply that was interrupted is gone on with.
func (s *Spec) Apply(ctx context.Context, env *stage.Env) (State, error) {
	env = env.WithoutPlans()
	if err := env.Ledger.Ensure(ctx, env.DB); err != nil {
		return State{}, err
	}
	if err := s.endUndo(ctx, env); err != nil {
		return State{}, err
	}
	for {
		err := s.takeAway(ctx, env)
		if errors.Is(err, errProofTooOld) {
			continue
		}
		if err != nil && !s.takenMeanwhile(ctx, env) {
			return State{}, err
		}
		break
	}
	if s.Mode == Drop {
		if err := s.dropAll(ctx, env); err != nil {
			return State{}, s.inBetween(err)
		}
	}
	return s.settle(ctx, env)
}

// takenMeanwhile reports whether another apply has put the columns into quarantine, after which a proof fails.
func (s *Spec) takenMeanwhile(ctx context.Context, env *stage.Env) bool {
	var found *inspection
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		found, err = s.inspect(ctx, tx, env)
		return err
	})
	return err == nil && found.place != inPlace
}

// endUndo brings an undo to its end that was interrupted.
func (s *Spec) endUndo(ctx context.Context, env *stage.Env) error {
	found, err := s.away(ctx, env)
	if err != nil || found == nil || !found.undo.Begun {
		return err
	}
	_, err = s.Revert(ctx, env) // What it could not bring back is about to go again.
	return err
}

// takeAway passes the gates and puts the columns into quarantine, unless they are there.
func (s *Spec) takeAway(ctx context.Context, env *stage.Env) error {
	var found *inspection
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		if found, err = s.inspect(ctx, tx, env); err != nil || found.done {
			return err
		}
		return s.checkTexts(ctx, tx, env, found)
	})
	if err != nil || found.place != inPlace {
		return err
	}
	if _, err := s.checkStatements(ctx, env, usage.StoreLook); err != nil {
		return err
	}
	if err := s.prove(ctx, env, found.readers); err != nil {
		return err
	}
	if err := s.awaitSnapshots(ctx, env, found.readers); err != nil {
		return err
	}
	proven := time.Now()
	return env.Runner.Run(ctx, ddl.Change{
		Title: fmt.Sprintf("%s of columns of %s", s.noun(), s.describe()), Table: found.table, Lock: ddl.AccessExclusive,
		Work: func(ctx context.Context, tx pgx.Tx) error {
			if time.Since(proven) > proofLasts {
				return errProofTooOld
			}
			return s.quarantineAll(ctx, tx, env, found.readers)
		},
	})
}

// quarantineAll runs under the lock: it looks once more at all that can have changed, writes down what an undo needs while the
// columns have their names, and renames them.
func (s *Spec) quarantineAll(ctx context.Context, tx pgx.Tx, env *stage.Env, proven []*ledger.Stage) error {
	if _, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnContract, s.ID); err != nil {
		return err
	}
	found, err := s.inspect(ctx, tx, env)
	if err != nil || found.place != inPlace {
		return err
	}
	for _, reader := range found.readers {
		same := slices.ContainsFunc(proven, func(p *ledger.Stage) bool { return p.ID == reader.ID && bytes.Equal(p.Spec, reader.Spec) })
		if !same || reader.Status != ledger.Complete {
			return errProofTooOld
		}
	}
	memory, err := s.remember(ctx, tx, found)
	if err != nil {
		return err
	}
	if err := run(ctx, tx, s.quarantine()); err != nil {
		return err
	}
	if err := s.retire(ctx, tx, found.syncs); err != nil {
		return err
	}
	document, err := stage.Encode(s)
	if err != nil {
		return err
	}
	kept, err := stage.Encode(memory)
	if err != nil {
		return err
	}
	record := &ledger.Stage{
		Kind: ledger.ColumnContract, Key: s.ID, TableOID: found.table.OID, Table: s.Table, Spec: document,
		Writes: found.numbers(), Status: ledger.Complete, Undo: kept,
	}
	if s.Mode == Drop {
		record.Status = ledger.Running
	}
	if err := env.Ledger.Put(ctx, tx, record); err != nil {
		return err
	}
	return env.Ledger.Retire(ctx, tx, record, found.numbers())
}

// remember returns what an undo needs to know.
func (s *Spec) remember(ctx context.Context, tx pgx.Tx, found *inspection) (*undo, error) {
	memory := &undo{}
	err := expression.InSafePath(ctx, tx, expression.Scope{Table: found.table}, func(expression.Scope) (err error) {
		if memory.Columns, err = s.readTaken(ctx, tx, found.table); err != nil {
			return err
		}
		memory.Belongings, err = readBelongings(ctx, tx, found.table, s.Columns)
		return err
	})
	for _, k := range found.syncs {
		for _, name := range k.spec.Old() {
			if was, goes := memory.Columns[name]; goes && k.mirrors {
				was.Reverse, was.From = k.spec.Reverse[name], k.spec.New()
				memory.Columns[name] = was
			}
		}
	}
	return memory, err
}

// settle brings the record in line with what the user asks for now, where the columns need no change.
func (s *Spec) settle(ctx context.Context, env *stage.Env) (state State, err error) {
	err = s.record(ctx, env, func(tx pgx.Tx) error {
		record, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnContract, s.ID)
		if err != nil || record == nil {
			return err
		}
		kept, err := readUndo(record)
		if err != nil {
			return err
		}
		if (s.Mode != Drop || !s.Archive) && kept.Archive != nil {
			if _, err := tx.Exec(ctx, s.dropArchive()); err != nil {
				return fmt.Errorf("drop the archive: %w", err)
			}
			kept.Archive = nil
		}
		state = s.state(&kept)
		document, err := stage.Encode(s)
		if err != nil {
			return err
		}
		record.Spec, record.Status = document, ledger.Complete
		if record.Undo, err = stage.Encode(&kept); err != nil {
			return err
		}
		return env.Ledger.Put(ctx, tx, record)
	})
	return state, err
}

// inBetween says where the columns are when a drop has not come to its end.
func (s *Spec) inBetween(err error) error {
	var f *finding.Finding
	if !errors.As(err, &f) {
		return err
	}
	f.Detail = finding.Paragraphs(f.Detail, fmt.Sprintf("The columns wait in quarantine, with all values, as %s. Apply again to go on. To bring them "+
		"back instead, import the contract and destroy it:\n\n  terraform import postgres_column_contract.NAME '%s'", s.waiting(), s.ID))
	return err
}

// waiting lists the names of the columns in quarantine.
func (s *Spec) waiting() string {
	names := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		names[i] = quarantined(c)
	}
	return pg.QuoteAll(names)
}

// checkTexts refuses while the text of a function mentions a column. The functions of the ledger are ours.
func (s *Spec) checkTexts(ctx context.Context, tx pgx.Tx, env *stage.Env, found *inspection) error {
	functions, err := usage.Functions(ctx, tx, found.table, found.names())
	if err != nil {
		return err
	}
	var names []string
	for _, f := range functions {
		if f.Schema != env.Ledger.Schema {
			names = append(names, f.Name)
		}
	}
	return s.checkFunctions(names)
}

// run runs statements.
func run(ctx context.Context, tx pgx.Tx, statements []ddl.Statement) error {
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement.SQL); err != nil {
			return fmt.Errorf("%s: %w", statement.SQL, err)
		}
	}
	return nil
}
