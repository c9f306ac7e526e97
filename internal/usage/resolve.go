package usage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Bounds of the look.
const (
	// chunk is how many statements are resolved together. Their locks on tables, which are those of the statements, are let
	// go after each.
	chunk = 20
	// resolveTime bounds the look as a whole.
	resolveTime = 15 * time.Second
	// resolveLockTimeout stays far below the server's deadlock_timeout, so that an application never becomes the victim of a
	// deadlock with us.
	resolveLockTimeout = 100 * time.Millisecond
	// resolveStatementTimeout bounds one chunk.
	resolveStatementTimeout = 5 * time.Second
)

// resolve finds out which statements use the columns. The server itself resolves the names, aliases and stars: each statement
// becomes the body of a temporary function, which is parsed and never run, in a transaction that is rolled back.
func (r *Report) resolve(ctx context.Context, env *stage.Env, t *target, found []Statement) error {
	if len(found) == 0 {
		return nil
	}
	settings := []pg.Setting{
		pg.Timeout("lock_timeout", resolveLockTimeout), pg.Timeout("statement_timeout", resolveStatementTimeout),
		{Name: "check_function_bodies", Value: "off"}, // It would rewrite the body, for nothing.
	}
	trees := make([]string, len(found))
	err := scratch(ctx, env.DB, settings, func(tx pgx.Tx) error {
		obstacle, err := obstacles(ctx, tx)
		if obstacle != "" || err != nil {
			r.Coverage = append(r.Coverage, obstacle)
			return err
		}
		return r.resolveAll(ctx, tx, t, found, trees)
	})
	if isServerError(err) { // Such as a pooler that keeps sessions read-only.
		r.Coverage = append(r.Coverage, fmt.Sprintf("The names in statements could not be resolved: %v.", err))
		err = nil
	}
	if err != nil {
		return fmt.Errorf("resolve the names in statements: %w", err)
	}
	for i, s := range found {
		if t.judge(&s, trees[i]) {
			r.Statements = append(r.Statements, s)
		}
	}
	slices.SortFunc(r.Statements, func(a, b Statement) int {
		if a.Certain != b.Certain {
			if a.Certain {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.QueryID, b.QueryID), cmp.Compare(a.Role, b.Role))
	})
	return nil
}

// obstacles says why no temporary function can be made here, or nothing.
func obstacles(ctx context.Context, tx pgx.Tx) (string, error) {
	var readOnly, temporary bool
	var role, database string
	err := tx.QueryRow(ctx, `SELECT current_setting('transaction_read_only')::boolean, has_database_privilege(current_database(), 'TEMP'),
		current_user, current_database()`).Scan(&readOnly, &temporary, &role, &database)
	switch {
	case err != nil:
		return "", err
	case readOnly:
		return "The server is read-only, so that the names in statements could not be resolved.", nil
	case !temporary:
		return fmt.Sprintf("Role %s may not make temporary objects, so that the names in statements could not be resolved. To let it: "+
			"GRANT TEMPORARY ON DATABASE %s TO %s;", role, pg.Quote(database), pg.Quote(role)), nil
	}
	return "", nil
}

func (r *Report) resolveAll(ctx context.Context, tx pgx.Tx, t *target, found []Statement, trees []string) error {
	paths, err := readPaths(ctx, tx, t.table.Name.Schema, found)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(resolveTime)
	for first := 0; first < len(found); first += chunk {
		if time.Now().After(deadline) {
			r.Coverage = append(r.Coverage, fmt.Sprintf("Only the first %d of %d statements could be resolved within %s.", first, len(found), resolveTime))
			return nil
		}
		end := min(first+chunk, len(found))
		if err := resolveChunk(ctx, tx, paths, found[first:end], trees[first:end]); err != nil {
			return err
		}
	}
	return nil
}

// judge reports whether the statement uses the columns or may do so, and how. The tree is its parse tree, or "".
func (t *target) judge(s *Statement, tree string) bool {
	list, ok := accesses(tree)
	if tree == "" || !ok {
		return s.shape.mentions(t.relationNames()) && (s.shape.everything || s.shape.mentions(t.columnNames()))
	}
	throughView := false
	for _, a := range list {
		relation := t.relations[a.relation]
		if relation == nil {
			continue
		}
		reads, writes := relation.names(a.reads), relation.names(a.writes)
		throughView = throughView || relation.view && len(reads)+len(writes) == 0
		s.Reads, s.Writes = append(s.Reads, reads...), append(s.Writes, writes...)
	}
	if s.shape.copiesIn {
		s.Reads, s.Writes = nil, s.Reads
	}
	s.Reads, s.Writes = sorted(s.Reads), sorted(s.Writes)
	s.Certain = len(s.Reads)+len(s.Writes) > 0
	// Nobody knows which of a view's outputs need the column if it is not just shown.
	return s.Certain || throughView
}

// names returns the asked names of the relation's columns. The whole row has them all.
func (r *relation) names(numbers []int16) (names []string) {
	for _, n := range numbers {
		if n == 0 {
			for _, name := range r.columns {
				names = append(names, name)
			}
		} else if name := r.columns[n]; name != "" {
			names = append(names, name)
		}
	}
	return names
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
