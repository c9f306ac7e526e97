package usage

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// readViews adds the views that show one of the columns, and views on those.
func (t *target) readViews(ctx context.Context, tx pgx.Tx) error {
	for {
		rows, err := tx.Query(ctx, `
			SELECT DISTINCT v.oid, v.relname, pg_get_viewdef(v.oid)
			  FROM unnest($1::oid[], $2::smallint[]) AS used(relation, number)
			  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = used.relation
			                  AND used.number IN (d.refobjsubid, 0) AND d.classid = 'pg_rewrite'::regclass
			  JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_type = '1'
			  JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
			 WHERE v.oid <> ALL ($3)`, unnestColumns(t.relations)...)
		if err != nil {
			return fmt.Errorf("look for views of %s: %w", t.table.Name, err)
		}
		type view struct {
			OID              uint32
			Name, Definition string
		}
		views, err := pgx.CollectRows(rows, pgx.RowToStructByPos[view])
		if err != nil {
			return fmt.Errorf("look for views of %s: %w", t.table.Name, err)
		}
		if len(views) == 0 {
			return nil
		}
		for _, v := range views {
			columns, err := t.originOfOutputs(ctx, tx, v.Definition)
			if err != nil {
				return err
			}
			t.relations[v.OID] = &relation{name: v.Name, view: true, columns: columns}
		}
	}
}

// originOfOutputs returns which columns of a view show one of the columns just as it is. A view's definition, parsed as a
// statement, tells the table column behind each output (RowDescription in the protocol).
func (t *target) originOfOutputs(ctx context.Context, tx pgx.Tx, definition string) (map[int16]string, error) {
	var described *pgconn.StatementDescription
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) (err error) {
		described, err = savepoint.Conn().PgConn().Prepare(ctx, "", definition, nil)
		return err
	})
	columns := make(map[int16]string)
	if isServerError(err) { // Such as a missing privilege on a schema: then every use of the view is uncertain.
		return columns, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for views of %s: %w", t.table.Name, err)
	}
	for i, field := range described.Fields {
		origin := t.relations[field.TableOID]
		if origin == nil {
			continue
		}
		if name := origin.columns[int16(field.TableAttributeNumber)]; name != "" { //nolint:gosec // at most 1600
			columns[int16(i+1)] = name //nolint:gosec // at most 1664
		}
	}
	return columns, nil
}

// unnestColumns lists the columns of relations as two arrays, and the relations that are known already. A view counts as a
// whole (0), because its condition may use what its outputs do not show.
func unnestColumns(relations map[uint32]*relation) []any {
	var of, known []uint32
	var numbers []int16
	for oid, r := range relations {
		known = append(known, oid)
		if r.view {
			of, numbers = append(of, oid), append(numbers, 0)
			continue
		}
		for number := range r.columns {
			of, numbers = append(of, oid), append(numbers, number)
		}
	}
	return []any{of, numbers, known}
}
