package contract

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// index makes an index again, beside the writers. That of a partitioned table finds those of the partitions and adopts them.
func (r *rebuilder) index(ctx context.Context) error {
	if err := r.indexLeaves(ctx, nil); err != nil {
		return err
	}
	if r.table.Partitioned {
		err := r.alter(ctx, ddl.ShareRowExclusive, false, noIndex, r.createIndex(r.Table, r.Name, ""))
		if err != nil {
			return err
		}
	}
	if comment := r.describe(); comment != nil {
		return r.alter(ctx, ddl.AccessShare, false, "SELECT $1::text IS NOT NULL AND $2::oid IS NOT NULL", comment...)
	}
	return nil
}

const noIndex = `SELECT NOT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = $1 AND i.indrelid = $2)`

// unique makes a UNIQUE constraint again out of an index that was built beside the writers. That of a partitioned table
// adopts those of the partitions.
func (r *rebuilder) unique(ctx context.Context) error {
	deferrable := ""
	if i := strings.LastIndex(r.Definition, ") DEFERRABLE"); i >= 0 {
		deferrable = r.Definition[i+1:]
	}
	err := r.indexLeaves(ctx, func(leaf *pg.Table, name string) error {
		own := *r.belonging
		own.Table, own.Name = leaf.Name, name
		on := &rebuilder{belonging: &own, spec: r.spec, env: r.env, table: leaf}
		return on.alter(ctx, ddl.AccessExclusive, false, noConstraint, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s UNIQUE USING INDEX %s%s",
			leaf.Name.SQL(), pg.Quote(name), pg.Quote(name), deferrable))
	})
	if err != nil {
		return err
	}
	if r.table.Partitioned {
		err := r.alter(ctx, ddl.AccessExclusive, false, noConstraint, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s", r.Table.SQL(), pg.Quote(r.Name),
			r.Definition))
		if err != nil {
			return err
		}
	}
	if comment := r.describe(); comment != nil {
		return r.alter(ctx, ddl.ShareUpdateExclusive, false, "SELECT $1::text IS NOT NULL AND $2::oid IS NOT NULL", comment...)
	}
	return nil
}

// indexLeaves builds the index on every relation that stores rows, and hands each to then, if that is not nil. An index is on one
// relation alone, also when that has inheritance children.
func (r *rebuilder) indexLeaves(ctx context.Context, then func(leaf *pg.Table, name string) error) error {
	leaves := []pg.Leaf{{OID: r.table.OID, Name: r.Table}}
	if r.table.Partitioned {
		leaves = r.table.Leaves
	}
	for _, l := range leaves {
		name := r.Name
		if r.table.Partitioned {
			if name = r.Partitions[l.OID]; name == "" { // The partition is younger than the contract.
				name = pg.FitName(l.Name.Name+"_"+r.Name, "")
			}
		}
		if err := r.buildConcurrently(ctx, l, name); err != nil {
			return err
		}
		if then == nil {
			continue
		}
		var leaf *pg.Table
		err := r.env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
			leaf, err = pg.ReadTable(ctx, tx, l.Name)
			return err
		})
		if err != nil {
			return err
		}
		if err := then(leaf, name); err != nil {
			return err
		}
	}
	return nil
}

// buildConcurrently builds the index of one relation, unless it is there. What an interrupted attempt has left behind is invalid,
// and replaced.
func (r *rebuilder) buildConcurrently(ctx context.Context, leaf pg.Leaf, name string) error {
	valid, err := r.dropInvalid(ctx, leaf, name)
	if err != nil || valid {
		return err
	}
	err = r.concurrently(ctx, r.createIndex(leaf.Name, name, "CONCURRENTLY "))
	if err != nil {
		// Half an index costs every write and serves nobody. If it cannot be dropped now, the next attempt does it.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if _, dropErr := r.dropInvalid(ending, leaf, name); dropErr != nil {
			r.env.Log.WarnContext(ctx, "an invalid index is left behind", "index", name, "error", dropErr)
		}
	}
	return err
}

// dropInvalid drops the index if it is invalid, and reports whether there is a valid one.
func (r *rebuilder) dropInvalid(ctx context.Context, leaf pg.Leaf, name string) (valid bool, err error) {
	err = r.env.DB.Look(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
			 WHERE c.relname = $1 AND i.indrelid = $2`, name, leaf.OID).Scan(&valid)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil || valid {
		return valid, err
	}
	return false, r.concurrently(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+pg.TableName{Schema: leaf.Name.Schema, Name: name}.SQL())
}

// concurrently runs a statement that cannot run in a transaction. It waits for the transactions that are open, without keeping
// anybody from the table.
func (r *rebuilder) concurrently(ctx context.Context, sql string) error {
	err := r.env.DB.Alone(ctx, sql, func(blockers []pg.Session) {
		for _, b := range blockers {
			r.env.Log.WarnContext(ctx, "waiting", "statement", sql, "for", b.String())
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}
