package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// body is a statement on its way into a function.
type body struct {
	index int
	path  string
	sql   string
	// parameters are the types that the server gives its parameters; described is false when it could not.
	parameters []uint32
	described  bool
}

// maxArguments is how many arguments a function may have (FUNC_MAX_ARGS).
const maxArguments = 100

// resolveChunk fills in the parse trees of some statements. A statement that the server does not take keeps "".
func resolveChunk(ctx context.Context, tx pgx.Tx, paths map[string]string, statements []Statement, trees []string) error {
	var bodies []body
	types := make(map[uint32]string)
	err := discard(ctx, tx, func() error {
		for i, s := range statements {
			if s.shape.sql == "" {
				continue
			}
			b, err := describe(ctx, tx, body{index: i, path: paths[s.Role], sql: s.shape.sql})
			if err != nil {
				return err
			}
			if b == nil {
				continue
			}
			for _, oid := range b.parameters {
				types[oid] = ""
			}
			bodies = append(bodies, *b)
		}
		return nil
	})
	if err != nil || len(bodies) == 0 {
		return err
	}
	if err := nameTypes(ctx, tx, types); err != nil {
		return err
	}
	parsed, err := parse(ctx, tx, bodies, types)
	if err != nil {
		return err
	}
	for i, tree := range parsed {
		if tree != nil {
			trees[bodies[i].index] = *tree
		}
	}
	return nil
}

// describe has the server analyze a statement, which tells the types of its parameters, and makes sure that it is one statement
// and no more: the protocol takes one only. It returns nil when it is not.
func describe(ctx context.Context, tx pgx.Tx, b body) (*body, error) {
	const syntaxError = "42601"
	for _, sql := range []string{b.sql, typedConstants(b.sql)} {
		if sql == "" {
			continue
		}
		b.sql = sql
		if err := exec(ctx, tx, `SELECT pg_catalog.set_config('search_path', $1, true)`, b.path); err != nil {
			return nil, err
		}
		described, err := tx.Conn().PgConn().Prepare(ctx, "", sql, nil)
		if err == nil {
			b.parameters, b.described = described.ParamOIDs, true
			return &b, nil
		}
		if !isServerError(err) || pg.SQLState(err) == "57014" {
			return nil, err
		}
		if err := exec(ctx, tx, `ROLLBACK TO SAVEPOINT look`); err != nil {
			return nil, err
		}
		// More than one statement is a syntax error, too. Any other error comes from the analysis of one.
		if pg.SQLState(err) != syntaxError {
			return &b, nil
		}
	}
	return nil, nil
}

// forms returns the statements that make the function, in the order in which they are to be tried.
func (b *body) forms(types map[uint32]string) []string {
	names := make([]string, len(b.parameters))
	for i, oid := range b.parameters {
		names[i] = types[oid]
	}
	var forms []string
	if b.described && len(names) <= maxArguments {
		forms = append(forms, createFunction(names, b.sql))
	}
	return append(forms, createFunction(nil, withoutParameters(b.sql, names)), createFunction(nil, withoutConstants(b.sql)))
}

// parse makes the functions, and returns their parse trees. It happens in a block of PL/pgSQL, because pg_stat_statements
// keeps an entry for each statement of a session, and ours would push out those that we came to see.
func parse(ctx context.Context, tx pgx.Tx, bodies []body, types map[uint32]string) (trees []*string, err error) {
	type item struct {
		Path  string   `json:"path"`
		Forms []string `json:"forms"`
	}
	items := make([]item, len(bodies))
	for i, b := range bodies {
		items[i] = item{b.path, b.forms(types)}
	}
	document, err := json.Marshal(items)
	if err != nil {
		return nil, err
	}
	var answer []byte
	err = discard(ctx, tx, func() error {
		if err := exec(ctx, tx, `SELECT set_config('terraform_postgres.look', $1, true)`, string(document)); err != nil {
			return err
		}
		if err := exec(ctx, tx, parseBlock); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT current_setting('terraform_postgres.look')`).Scan(&answer)
	})
	var e *pgconn.PgError
	if errors.As(err, &e) && (e.Code == "57014" || e.Code == "42704") && ctx.Err() == nil {
		return nil, nil // It took too long, or there is no PL/pgSQL.
	}
	if err != nil {
		return nil, err
	}
	return trees, json.Unmarshal(answer, &trees)
}

// nameTypes fills in the full names of types.
func nameTypes(ctx context.Context, tx pgx.Tx, types map[uint32]string) error {
	oids := make([]uint32, 0, len(types))
	for oid := range types {
		oids = append(oids, oid)
	}
	rows, err := tx.Query(ctx, `
		SELECT t.oid, quote_ident(n.nspname) || '.' || quote_ident(t.typname)
		  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = ANY($1)`, oids)
	if err != nil {
		return err
	}
	var oid uint32
	var name string
	_, err = pgx.ForEachRow(rows, []any{&oid, &name}, func() error {
		types[oid] = name
		return nil
	})
	return err
}

// discard runs fn and takes back whatever it did, its locks included.
func discard(ctx context.Context, tx pgx.Tx, fn func() error) error {
	if err := exec(ctx, tx, `SAVEPOINT look`); err != nil {
		return err
	}
	err := fn()
	if err != nil && !isServerError(err) {
		return err
	}
	return errors.Join(err, exec(ctx, tx, `ROLLBACK TO SAVEPOINT look`), exec(ctx, tx, `RELEASE SAVEPOINT look`))
}

func exec(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("resolve names: %w", err)
	}
	return nil
}
