package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// revertAttempts is how often an undo goes on that meets the steps of another apply that does the same.
const revertAttempts = 3

// Revert brings the columns back: renamed, or added again and refilled. It wakes the stages that the contract had retired. Each
// step is recorded with its work, so that a Revert that was interrupted is gone on with.
func (s *Spec) Revert(ctx context.Context, env *stage.Env) ([]*finding.Finding, error) {
	for attempt := 1; ; attempt++ {
		missing, err := s.revert(ctx, env)
		if err == nil || ctx.Err() != nil {
			return missing, err
		}
		if found, lookErr := s.away(ctx, env); lookErr == nil && found == nil && s.checkUnknown(ctx, env) == nil {
			return missing, nil // Another apply has undone it meanwhile.
		}
		if attempt == revertAttempts || !stage.IsOvertaken(err) {
			return missing, err
		}
	}
}

func (s *Spec) revert(ctx context.Context, env *stage.Env) ([]*finding.Finding, error) {
	found, err := s.away(ctx, env)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, s.checkUnknown(ctx, env)
	}
	if !found.undo.Begun {
		err := env.Runner.Run(ctx, ddl.Change{
			Title: fmt.Sprintf("Bringing columns of %s back", s.describe()), Table: found.table, Lock: ddl.AccessExclusive,
			Work: func(ctx context.Context, tx pgx.Tx) error { return s.bringBack(ctx, tx, env) },
		})
		if err != nil {
			return nil, err
		}
		if found, err = s.away(ctx, env); err != nil || found == nil {
			return nil, err
		}
	}
	var missing []*finding.Finding
	if found.undo.Dropped {
		unfilled, err := s.refill(ctx, env, found)
		if err != nil {
			return nil, err
		}
		lost, err := s.rebuild(ctx, env, found)
		if err != nil {
			return nil, err
		}
		missing = append(unfilled, lost...)
	}
	nullable, err := s.restoreNotNull(ctx, env, found)
	if err != nil {
		return nil, err
	}
	missing = append(missing, nullable...)
	if len(found.undo.Lost) > 0 {
		missing = append(missing, finding.New(fmt.Sprintf("Columns of %s are back, but not all that belonged to them", s.describe()),
			"These could not be brought back:\n\n"+finding.Indent(strings.Join(found.undo.Lost, "\n"))))
	}
	return missing, s.forget(ctx, env, found)
}

// away reads what was taken away; nil means that there is nothing to bring back.
func (s *Spec) away(ctx context.Context, env *stage.Env) (found *inspection, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.ColumnContract, s.ID)
		if err != nil || record == nil {
			return err
		}
		table, err := env.ReadTable(ctx, tx, s.Table, record)
		if err != nil && !errors.Is(err, pg.ErrNoTable) {
			return err
		}
		if table == nil || table.OID != record.TableOID {
			return nil
		}
		found = &inspection{record: record, table: table}
		found.undo, err = readUndo(record)
		return err
	})
	return found, err
}

// checkUnknown refuses to take a quarantine for undone of which only the ledger is gone.
func (s *Spec) checkUnknown(ctx context.Context, env *stage.Env) error {
	return env.DB.Look(ctx, func(tx pgx.Tx) error {
		record, err := env.Record(ctx, tx, ledger.ColumnContract, s.ID)
		if err != nil || record != nil {
			return err
		}
		table, err := pg.ReadTable(ctx, tx, s.Table)
		if errors.Is(err, pg.ErrNoTable) {
			return nil
		}
		if err != nil {
			return err
		}
		var renames []string
		for _, name := range s.Columns {
			_, back := table.Column(name)
			if _, waits := table.Column(quarantined(name)); waits && !back {
				renames = append(renames, s.renameBack(quarantined(name), name)+";")
			}
		}
		if len(renames) == 0 {
			return nil
		}
		return finding.New(fmt.Sprintf("The ledger knows nothing of the contract of columns of %s", s.describe()),
			finding.Paragraphs(fmt.Sprintf("The columns still wait in quarantine, but schema %s does not say what belongs to them, such as NOT NULL or a "+
				"default. It was dropped, or restored from before.", env.Ledger.Schema),
				"Restore the schema and destroy the contract again, or bring the columns back by hand and apply then:\n\n"+finding.Indent(strings.Join(renames, "\n"))))
	})
}

// bringBack gives the columns their names back, or adds them again, and lets the syncs work as before. The record stays until the
// undo has come to its end.
func (s *Spec) bringBack(ctx context.Context, tx pgx.Tx, env *stage.Env) error {
	record, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnContract, s.ID)
	if err != nil || record == nil {
		return err
	}
	kept, err := readUndo(record)
	if err != nil || kept.Begun {
		return err
	}
	table, err := pg.ReadTable(ctx, tx, s.Table)
	if err != nil {
		return err
	}
	for _, name := range stage.SortedKeys(kept.Columns) {
		now, there := table.ColumnByNumber(kept.Columns[name].Attnum)
		if there && now.Name == name {
			continue
		}
		if _, occupied := table.Column(name); occupied {
			return s.existsAgain(name, now.Name)
		}
		if there {
			if err := s.unquarantine(ctx, tx, now, name, kept.Columns[name]); err != nil {
				return err
			}
			continue
		}
		kept.Dropped = true
		if err := s.addAgain(ctx, tx, &kept, name); err != nil {
			return err
		}
	}
	if table, err = pg.ReadTable(ctx, tx, s.Table); err != nil {
		return err
	}
	if err := s.renumber(ctx, tx, env, table, &kept); err != nil {
		return err
	}
	if err := s.rearm(ctx, tx, env, table, record, &kept); err != nil {
		return err
	}
	kept.Begun = true
	if err := env.Ledger.SetStatus(ctx, tx, record.ID, ledger.Running); err != nil {
		return err
	}
	return kept.write(ctx, tx, env, record)
}

// unquarantine gives a column its name back, and the default that it lost while a sync kept it.
func (s *Spec) unquarantine(ctx context.Context, tx pgx.Tx, now pg.Column, name string, was taken) error {
	statements := []string{s.renameBack(now.Name, name)}
	if was.Default != "" && now.Default == "" {
		statements = append(statements, s.setDefault(name, was))
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func (s *Spec) setDefault(name string, was taken) string {
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s", s.Table.SQL(), pg.Quote(name), was.Default)
}

func (s *Spec) existsAgain(name, waiting string) *finding.Finding {
	how := "Somebody added it since the old one was dropped."
	if waiting != "" {
		how = fmt.Sprintf("Somebody added it while the old one waited as %s.", pg.Quote(waiting))
	}
	return finding.New(fmt.Sprintf("Column %s exists again", s.Table.Column(name)), how+" Rename or drop the new one first.")
}

func (s *Spec) renameBack(from, to string) string {
	return fmt.Sprintf("ALTER TABLE %s RENAME COLUMN %s TO %s", s.Table.SQL(), pg.Quote(from), pg.Quote(to))
}

// addAgain adds a column that was dropped, empty, with all that changes metadata only. What the server refuses is noted.
func (s *Spec) addAgain(ctx context.Context, tx pgx.Tx, kept *undo, name string) error {
	was := kept.Columns[name]
	sql := s.addColumn(name, was)
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	var more []string
	if was.Default != "" {
		more = append(more, s.setDefault(name, was))
	}
	for _, sequence := range was.Sequences {
		more = append(more, fmt.Sprintf("ALTER SEQUENCE %s OWNED BY %s.%s", sequence, s.Table.SQL(), pg.Quote(name)))
	}
	for _, sql := range append(more, was.Details...) {
		err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
			_, err := savepoint.Exec(ctx, sql)
			return err
		})
		if err != nil {
			if err := kept.note(ctx, sql, err); err != nil {
				return err
			}
		}
	}
	if was.Computed != "" {
		kept.lose(fmt.Sprintf("Column %s was %s; a column in use cannot become that", pg.Quote(name), was.Computed), "")
	}
	return nil
}

// note writes down a statement that the server has refused for good.
func (u *undo) note(ctx context.Context, sql string, err error) error {
	if ctx.Err() != nil || pg.SQLState(err) == "" || pg.IsContention(err) || pg.IsConnectionLost(err) || pg.IsStatementTimeout(ctx, err) {
		return err
	}
	u.lose(err.Error(), sql)
	return nil
}

// lose writes down what cannot be brought back, with the statement that would do it, if there is one.
func (u *undo) lose(reason, sql string) {
	text := "-- " + strings.Join(strings.Fields(reason), " ")
	if sql != "" {
		text += "\n" + sql + ";"
	}
	if !slices.Contains(u.Lost, text) {
		u.Lost = append(u.Lost, text)
	}
}

// forget deletes the record, which wakes the stages that are still retired, and the archive.
func (s *Spec) forget(ctx context.Context, env *stage.Env, found *inspection) error {
	return s.record(ctx, env, func(tx pgx.Tx) error {
		if found.undo.Archive != nil && !found.keepArchive {
			if _, err := tx.Exec(ctx, s.dropArchive()); err != nil {
				return fmt.Errorf("drop the archive: %w", err)
			}
		}
		return env.Ledger.Delete(ctx, tx, found.record.ID)
	})
}
