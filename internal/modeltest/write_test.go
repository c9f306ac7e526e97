package modeltest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// write is one statement of a service, on the server and in the model.
type write struct {
	sql  string
	args []any
	// copied are lines for COPY FROM STDIN instead of arguments.
	copied string
	// columns are those of a change that it names.
	columns []string
	// apply does the same to the model: it returns the rows that come out of it, nil for those that are gone.
	apply func(m *model) (map[int64]row, error)
}

func (w write) String() string {
	var args []string
	for _, a := range w.args {
		if v, ok := a.(value); ok {
			a = show(v)
		}
		args = append(args, fmt.Sprint(a))
	}
	return w.sql + " -- " + strings.Join(args, ", ") + w.copied
}

// perform runs a transaction of a session: one write by itself, or several, some of which are rolled back.
func (w *table) perform() {
	s := pick(w.random, w.sessions...)
	if chance(w.random, 85) {
		write := w.draw(s)
		w.note("%s: %s", s.name, write)
		w.transaction(s, func(tx pgx.Tx) error {
			_, err := w.run(s, tx, write)
			return err
		})
	} else {
		w.several(s)
	}
	w.compare()
}

// errUndo rolls a transaction back on purpose.
var errUndo = errors.New("rolled back on purpose")

// transaction runs fn and puts the model back when it is rolled back. Only what the model expects may go wrong.
func (w *table) transaction(s *session, fn func(tx pgx.Tx) error) {
	before := w.model.clone()
	err := pgx.BeginFunc(w.t.Context(), s.conn, fn)
	if err != nil {
		w.model.rows = before
		w.note("  rolled back: %v", err)
	}
	if err != nil && !errors.Is(err, errUndo) && !errors.Is(err, errExpected) {
		w.fail("%s: %v", s.name, err)
	}
}

func (w *table) several(s *session) {
	w.note("%s: BEGIN", s.name)
	w.transaction(s, func(tx pgx.Tx) error {
		for range 2 + w.random.IntN(3) {
			before := w.model.clone()
			err := pgx.BeginFunc(w.t.Context(), tx, func(savepoint pgx.Tx) error {
				write := w.draw(s)
				w.note("  %s", write)
				if _, err := w.run(s, savepoint, write); err != nil {
					return err
				}
				if chance(w.random, 25) {
					return errUndo
				}
				return nil
			})
			if err != nil {
				w.model.rows = before
				w.note("    rolled back to the savepoint: %v", err)
			}
			if err != nil && !errors.Is(err, errUndo) && !errors.Is(err, errExpected) {
				return err
			}
		}
		if chance(w.random, 30) {
			return errUndo
		}
		return nil
	})
}

// errExpected is an error of the server that the model has, too.
var errExpected = errors.New("as expected")

// run runs a write on the server, in the model and in the twin.
func (w *table) run(s *session, tx pgx.Tx, write write) (ids []int64, err error) {
	changed, expected := write.apply(w.model)
	for _, c := range write.columns {
		if !w.reachable(c) {
			expected = errColumn
		}
	}
	if write.copied != "" {
		_, err = tx.Conn().PgConn().CopyFrom(w.t.Context(), strings.NewReader(write.copied), write.sql)
	} else {
		_, err = tx.Exec(w.t.Context(), write.sql, write.args...)
	}
	state := pg.SQLState(err)
	switch {
	case expected != nil && state == expected.Error():
		return nil, fmt.Errorf("%w: %w", errExpected, err)
	case expected != nil:
		return nil, fmt.Errorf("the write gave %s, want SQLSTATE %w", fmt.Sprint(err), expected)
	case err != nil:
		return nil, err
	}
	for id, r := range changed {
		ids = append(ids, id)
		if r == nil {
			delete(w.model.rows, id)
		} else {
			w.model.rows[id] = r
		}
	}
	return ids, w.copyToTwin(tx, ids)
}
