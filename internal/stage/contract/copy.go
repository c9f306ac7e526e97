package contract

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Bounds of the copying. It takes no lock that a writer could meet; what a short transaction spares is the xmin horizon.
const (
	copyTarget  = 100 * time.Millisecond
	copyTimeout = 30 * time.Second
	startPages  = 16
	maxPages    = 4096
	// checkpointEvery is how much work an interruption may cost.
	checkpointEvery = 2 * time.Second
	retryPause      = 200 * time.Millisecond
)

// safely returns the environment with sessions that see all rows and in which names mean what they mean in the function of a
// sync.
func safely(env *stage.Env, more ...pg.Setting) *stage.Env {
	safe := *env
	settings := []pg.Setting{{Name: "search_path", Value: expression.SafeSearchPath}, {Name: "row_security", Value: "off"}}
	safe.DB = env.DB.With(append(settings, more...)...)
	return &safe
}

// copyAll fills the archive with what a drop would lose, and proves that nothing is left out. It starts where an earlier apply
// was interrupted; rows that are there already stay as they are.
func (s *Spec) copyAll(ctx context.Context, env *stage.Env) error {
	env = safely(env)
	task, leaves, err := s.beginCopy(ctx, env)
	if err != nil || task == nil {
		return err
	}
	for _, leaf := range leaves {
		if err := s.copyLeaf(ctx, env, task, leaf.Leaf, leaf.next); err != nil {
			return s.explainCopy(err)
		}
	}
	err = s.again(ctx, env, func() error {
		settings := []pg.Setting{pg.Timeout("lock_timeout", time.Second), {Name: "statement_timeout", Value: "0"}}
		return env.DB.Tx(ctx, pgx.TxOptions{}, settings, func(tx pgx.Tx) error {
			// An undo looks up every row of the table in it; without statistics that would be a scan each time.
			for _, sql := range []string{task.purge(), task.sweep(), "ANALYZE " + s.archiveName().SQL()} {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return err
				}
			}
			return s.checkpoint(ctx, tx, env, func(a *archive) error {
				return tx.QueryRow(ctx, "SELECT count(*) FROM "+s.archiveName().SQL()).Scan(&a.Rows)
			})
		})
	})
	return s.explainCopy(err)
}

// pending is a relation that stores rows, with the first page that is not copied.
type pending struct {
	pg.Leaf
	next int64
}

// beginCopy makes the archive's table, unless it is there. It returns no task when the columns are not in quarantine.
func (s *Spec) beginCopy(ctx context.Context, env *stage.Env) (task *copyTask, leaves []pending, err error) {
	err = s.record(ctx, env, func(tx pgx.Tx) error {
		record, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnContract, s.ID)
		if err != nil || record == nil {
			return err
		}
		kept, err := readUndo(record)
		if err != nil {
			return err
		}
		table, err := env.ReadTable(ctx, tx, s.Table, record)
		if err != nil {
			return err
		}
		if err := s.checkArchivable(ctx, tx, table); err != nil {
			return err
		}
		for _, was := range kept.Columns {
			if _, there := table.ColumnByNumber(was.Attnum); !there {
				return nil
			}
		}
		task = &copyTask{spec: s, columns: kept.Columns, key: archiveKey(table), present: quarantined}
		if kept.Archive == nil {
			kept.Archive = &archive{Key: task.key, Walked: make(map[uint32]walked)}
			for _, sql := range append([]string{s.dropArchive()}, task.create()...) {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return fmt.Errorf("%s: %w", sql, err)
				}
			}
			if err := kept.write(ctx, tx, env, record); err != nil {
				return err
			}
		}
		leaves = leaves[:0]
		for _, leaf := range table.Leaves {
			p := pending{Leaf: leaf}
			if at := kept.Archive.Walked[leaf.OID]; at.Filenode == leaf.Filenode {
				p.next = at.Next
			}
			leaves = append(leaves, p)
		}
		return nil
	})
	return task, leaves, err
}

// checkpoint changes the record of the archive.
func (s *Spec) checkpoint(ctx context.Context, tx pgx.Tx, env *stage.Env, change func(a *archive) error) error {
	record, err := env.Ledger.LockStage(ctx, tx, ledger.ColumnContract, s.ID)
	if err != nil {
		return err
	}
	if record == nil {
		return errUndone
	}
	kept, err := readUndo(record)
	if err != nil {
		return err
	}
	if kept.Archive == nil || kept.Begun {
		return errUndone
	}
	if err := change(kept.Archive); err != nil {
		return err
	}
	return kept.write(ctx, tx, env, record)
}

// errUndone says that another apply has undone the contract meanwhile.
var errUndone = errors.New("another apply has undone the contract")

// copyLeaf copies what is lost of one relation, in windows of pages that take about as long as the target.
func (s *Spec) copyLeaf(ctx context.Context, env *stage.Env, task *copyTask, leaf pg.Leaf, next int64) error {
	sql := task.copyWindow(leaf.Name)
	size, recorded := int64(startPages), time.Now()
	for next < leaf.Pages {
		end := min(next+size, leaf.Pages)
		last := end == leaf.Pages || time.Since(recorded) > checkpointEvery
		started := time.Now()
		err := s.again(ctx, env, func() error {
			settings := []pg.Setting{pg.Timeout("lock_timeout", time.Second), pg.Timeout("statement_timeout", copyTimeout)}
			return env.DB.Tx(ctx, pgx.TxOptions{}, settings, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, sql, tid(next), tid(end)); err != nil || !last {
					return err
				}
				return s.checkpoint(ctx, tx, env, func(a *archive) error {
					a.Walked[leaf.OID] = walked{Filenode: leaf.Filenode, Next: end}
					return nil
				})
			})
		})
		switch took := time.Since(started); {
		case pg.IsStatementTimeout(ctx, err) && size > 1:
			size /= 2
			continue
		case err != nil:
			return err
		case took > copyTarget:
			size = max(size/2, 1)
		case took < copyTarget/2:
			size = min(2*size, maxPages)
		}
		if last {
			recorded = time.Now()
		}
		next = end
	}
	return nil
}

// again repeats work that lost against others, or whose session broke, within RetryFor. The work must not mind that it had
// been committed before.
func (s *Spec) again(ctx context.Context, env *stage.Env, work func() error) error {
	for deadline := time.Now().Add(env.RetryFor); ; {
		err := work()
		if ctx.Err() != nil || time.Now().After(deadline) || (!pg.IsContention(err) && !pg.IsConnectionLost(err)) {
			return err
		}
		env.Log.WarnContext(ctx, "trying again", "contract", s.ID, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

// record runs a transaction that writes the ledger and the archive's catalog entry only. fn must not mind that it had been
// committed before.
func (s *Spec) record(ctx context.Context, env *stage.Env, fn func(tx pgx.Tx) error) error {
	return s.again(ctx, env, func() error { return env.DB.Tx(ctx, pgx.TxOptions{}, bookkeeping, fn) })
}

// explainCopy says what a row has done to the archive.
func (s *Spec) explainCopy(err error) error {
	if !pg.IsRowError(err) {
		return err
	}
	return finding.New(fmt.Sprintf("Archive of %s fails on a row", s.describe()),
		fmt.Sprintf("The server says: %v.\n\nAn expression of the sync's reverse cannot be computed for it. Repair the row, and apply again.", err)).Because(err)
}

// tid is the address before the first row of a page.
func tid(page int64) string { return fmt.Sprintf("(%d,0)", page) }
