package contract

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// undo is what the ledger keeps of a contract, so that it can be undone.
type undo struct {
	// Columns are those that were taken away, by their former names.
	Columns map[string]taken
	// Belongings are what a drop takes along.
	Belongings []belonging
	// Archive is where the values are that nothing else gives back; nil when there is none.
	Archive *archive
	// Begun means that an undo has brought the columns back and has not come to its end.
	Begun bool
	// Dropped means that the columns that it brought back were dropped, not only renamed.
	Dropped bool
	// Lost are statements that an undo has tried in vain, with the reason before each of them.
	Lost []string
}

// taken is a column that was taken away.
type taken struct {
	Attnum    int16
	NotNull   bool
	Type      string
	Collation string // unless it is that of the type
	Default   string // the expression, or ""
	// Details are statements that give the column what ADD COLUMN does not: storage, comment, privileges.
	Details []string
	// Sequences are those that belong to the column, as SQL.
	Sequences []string
	// Computed is the clause of an identity or generated column, which no undo can give back to a table in use.
	Computed string
	// Reverse is the expression that gives the value from the columns From, where a sync has one and could go on with it
	// after the column was taken away.
	Reverse string
	From    []string
}

// readUndo reads what the ledger keeps of a contract.
func readUndo(record *ledger.Stage) (undo, error) { return stage.Decode[undo](record.Undo) }

// write puts it into the ledger.
func (u *undo) write(ctx context.Context, tx pgx.Tx, env *stage.Env, record *ledger.Stage) error {
	document, err := stage.Encode(u)
	if err != nil {
		return err
	}
	return env.Ledger.SetUndo(ctx, tx, record.ID, document)
}
