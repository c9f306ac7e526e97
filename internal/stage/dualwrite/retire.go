package dualwrite

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

// Arm makes the trigger and its function. The caller has a SHARE ROW EXCLUSIVE lock on the table, or a stronger one.
func (s *Spec) Arm(ctx context.Context, tx pgx.Tx) error {
	for _, sql := range []string{s.createFunction(s.body()), s.createTrigger(), s.enableTrigger()} {
		if err := s.exec(ctx, tx, sql); err != nil {
			return err
		}
	}
	return nil
}

// Disarm drops the trigger and its function. The caller has an ACCESS EXCLUSIVE lock on the table.
func (s *Spec) Disarm(ctx context.Context, tx pgx.Tx) error {
	for _, sql := range []string{s.dropTrigger(), s.dropFunction()} {
		if err := s.exec(ctx, tx, sql); err != nil {
			return err
		}
	}
	return nil
}

// Mirror replaces the trigger's function by one that only writes the old columns, which have the given names now: with
// nobody left who writes them, it keeps them as the new side says. The caller has an ACCESS EXCLUSIVE lock on the table.
func (s *Spec) Mirror(ctx context.Context, tx pgx.Tx, names map[string]string) error {
	return s.exec(ctx, tx, s.createFunction(s.mirrorBody(names)))
}

// Live reports whether the trigger is there, enabled and unchanged.
func (s *Spec) Live(ctx context.Context, tx pgx.Tx, record *ledger.Stage) (bool, error) {
	enabled, body, err := s.look(ctx, tx, record.TableOID)
	return enabled == s.enabled() && body == "\n"+s.body(), err
}
