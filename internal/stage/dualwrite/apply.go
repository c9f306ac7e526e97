package dualwrite

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

// State is what can be observed of a sync.
type State struct {
	Spec Spec
}

var _ stage.Stage[State] = (*Spec)(nil)

// Apply makes the trigger. A trigger that is there gets a new function only, which takes no lock on the table.
func (s *Spec) Apply(ctx context.Context, env *stage.Env) (State, error) {
	if err := env.Ledger.Ensure(ctx, env.DB); err != nil {
		return State{}, err
	}
	var found *inspection
	var fires bool
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		if found, err = s.inspect(ctx, tx, env, nil); err != nil {
			return err
		}
		fires, err = s.fires(ctx, tx, found)
		return err
	})
	if err != nil {
		return State{}, err
	}
	change := ddl.Change{
		Title: "Sync of " + s.describe(), Table: found.table, Lock: ddl.ShareRowExclusive,
		Work: func(ctx context.Context, tx pgx.Tx) error { return s.work(ctx, tx, env, !fires) },
	}
	if fires {
		change.Lock = ddl.AccessShare // It keeps the table from being dropped or renamed meanwhile.
	}
	if err := env.Runner.Run(ctx, change); err != nil {
		return State{}, err
	}
	s.beginToWatch(ctx, env, found)
	return State{Spec: *s}, nil
}

// beginToWatch stores how often the statements that use the old side have run so far, so that a contract can tell one day which
// of them still do. It is no part of the sync, which works without it.
func (s *Spec) beginToWatch(ctx context.Context, env *stage.Env, found *inspection) {
	old := slices.Compact(slices.Sorted(slices.Values(slices.Concat(s.Old(), found.reads))))
	if len(old) == 0 {
		return
	}
	if _, err := usage.StoreLook(ctx, env, s.Table, old); err != nil && ctx.Err() == nil {
		env.Log.WarnContext(ctx, "statements were not looked at", "sync", s.ID, "error", err)
	}
}

// fires reports whether the trigger is there and fires when it should, whatever its function does.
func (s *Spec) fires(ctx context.Context, tx pgx.Tx, found *inspection) (bool, error) {
	if found.record == nil {
		return false, nil
	}
	was, err := stage.Decode[Spec](found.record.Spec)
	if err != nil || was.createTrigger() != s.createTrigger() {
		return false, err
	}
	enabled, _, err := s.look(ctx, tx, found.table.OID)
	return enabled == s.enabled(), err
}

// enabled is how pg_trigger.tgenabled spells that the trigger fires when it should.
func (s *Spec) enabled() string {
	if s.EnableAlways {
		return "A"
	}
	return "O"
}

// look reads how the trigger is enabled and what its function does; both are empty when there is none.
func (s *Spec) look(ctx context.Context, tx pgx.Tx, table uint32) (enabled, body string, err error) {
	function := s.function()
	err = tx.QueryRow(ctx, `
		SELECT t.tgenabled::text, p.prosrc
		  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
		 WHERE t.tgrelid = $1 AND t.tgname = $2 AND n.nspname = $3 AND p.proname = $4`,
		table, s.trigger(), function.Schema, function.Name).Scan(&enabled, &body)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("read the triggers of %s: %w", s.Table, err)
	}
	return enabled, body, nil
}

// work runs under the lock. All of it can be done again.
func (s *Spec) work(ctx context.Context, tx pgx.Tx, env *stage.Env, withTrigger bool) error {
	if _, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnSync, s.ID); err != nil {
		return err
	}
	found, err := s.inspect(ctx, tx, env, nil)
	if err != nil {
		return err
	}
	if withTrigger {
		err = s.Arm(ctx, tx)
	} else {
		err = s.exec(ctx, tx, s.createFunction(s.body()))
	}
	if err != nil {
		return err
	}
	document, err := stage.Encode(s)
	if err != nil {
		return err
	}
	return env.Ledger.Put(ctx, tx, &ledger.Stage{
		Kind: ledger.ColumnSync, Key: s.ID, TableOID: found.table.OID, Table: s.Table, Spec: document,
		Reads:  numbers(found.table, append(found.reads, found.reverseReads...)...),
		Writes: numbers(found.table, append(s.New(), s.Old()...)...), Status: ledger.Complete,
	})
}

func (s *Spec) exec(ctx context.Context, tx pgx.Tx, sql string) error {
	return ddl.Exec(ctx, tx, "Sync of "+s.describe(), sql)
}

// Read returns the sync when its trigger works as the ledger says, or when a contract has retired it. A trigger that somebody
// dropped, disabled or changed is no sync; the next apply makes it again.
func (s *Spec) Read(ctx context.Context, env *stage.Env) (state *State, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.ColumnSync, s.ID)
		if err != nil || record == nil || record.Status == ledger.Forgotten {
			return err
		}
		spec, err := stage.Decode[Spec](record.Spec)
		if err != nil {
			return err
		}
		if !record.Retired() {
			live, err := spec.Live(ctx, tx, record)
			if err != nil || !live {
				return err
			}
			// Under a column that was renamed or dropped the trigger fails, and with it every write.
			named, err := stage.StillNamed(ctx, tx, record.TableOID, record.Writes, slices.Concat(spec.New(), spec.Old()))
			if err != nil || !named {
				return err
			}
		}
		state = &State{Spec: spec}
		return nil
	})
	return state, err
}
