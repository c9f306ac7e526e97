package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// readTimeout is for a network that has gone silent. The server itself ends the statement sooner.
const readTimeout = 15 * time.Second

// FromLedger returns a source that reads the ledger of a database.
func FromLedger(db *pg.DB, l ledger.Ledger) Source {
	return func(ctx context.Context) (all []ledger.Progress, err error) {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		err = db.Look(ctx, func(tx pgx.Tx) (err error) {
			all, err = l.AllProgress(ctx, tx)
			return err
		})
		if errors.Is(err, ledger.ErrNoLedger) {
			return nil, finding.New(fmt.Sprintf("There is no ledger in schema %s", l.Schema),
				"No apply has run a stage in this database yet, or the provider block names another database or ledger_schema.").Because(err)
		}
		return all, err
	}
}

// transient reports whether the server may answer the next time.
func transient(err error) bool {
	return pg.IsConnectionLost(err) || pg.IsContention(err) || errors.Is(err, context.DeadlineExceeded) ||
		pg.IsStatementTimeout(context.Background(), err)
}
