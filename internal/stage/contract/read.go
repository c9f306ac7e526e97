package contract

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// State is what can be observed of a contract.
type State struct {
	Spec Spec
	// ArchiveTable is the table with the archive, or "", and ArchiveRows how many rows it has.
	ArchiveTable string
	ArchiveRows  int64
}

var _ stage.Stage[State] = (*Spec)(nil)

func (s *Spec) state(kept *undo) State {
	state := State{Spec: *s}
	if kept.Archive != nil {
		state.ArchiveTable, state.ArchiveRows = s.archiveName().String(), kept.Archive.Rows
	}
	return state
}

// Read returns the contract as the ledger has it, or nil when it does not stand: nobody made it, the table is gone, or a
// column is back under its old name. A table that was restored from a dump has another OID, and the contract still stands. A
// drop that was interrupted is a quarantine so far.
func (s *Spec) Read(ctx context.Context, env *stage.Env) (state *State, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.ColumnContract, s.ID)
		if err != nil || record == nil {
			return err
		}
		table, err := env.DescribeTable(ctx, tx, s.Table, record)
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
		kept, err := readUndo(record)
		if err != nil {
			return err
		}
		if !kept.Begun {
			for _, name := range spec.Columns {
				if _, back := table.Column(name); back {
					return nil
				}
			}
		}
		seen := spec.state(&kept)
		switch {
		case kept.Begun:
			seen.Spec.Mode = Undoing
		case record.Status == ledger.Running:
			seen.Spec.Mode = Quarantine
		}
		if record.Status == ledger.Running {
			seen.ArchiveTable, seen.ArchiveRows = "", 0
		}
		state = &seen
		return nil
	})
	return state, err
}
