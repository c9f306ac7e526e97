package expression

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Assignment is one column that is set to an expression.
type Assignment struct {
	Column string
	SQL    string
	// Compares means that the stored value is compared with the expression later on, so that storing must not change
	// it: numeric(10,2) does not give back the 1.005 that was put in.
	Compares bool
}

// Writable refuses columns that are not there, or into which nothing but the server may write.
func Writable(scope Scope, name string) error {
	full := scope.Table.Name.Column(name)
	column, exists := scope.Table.Column(name)
	if !exists {
		if _, planned := scope.Planned[name]; planned {
			return nil
		}
		return finding.New(fmt.Sprintf("Column %s does not exist", full),
			"Only columns that are there can be filled. Let an expand add it first, and refer to it:\n\n"+
				finding.Indent(fmt.Sprintf("resource \"postgres_column_expand\" \"example\" {\n  table   = %q\n  columns = { %s = { type = \"text\" } }\n}",
					scope.Table.Name.Name, name)))
	}
	switch {
	case column.Generated:
		return finding.New(fmt.Sprintf("Column %s is a generated column", full),
			"The server computes its values and refuses any other. Fill another column.")
	case column.Identity:
		return finding.New(fmt.Sprintf("Column %s is an identity column", full),
			"Its values come from a sequence and name the rows. Fill another column.")
	}
	return nil
}

// OIDs of built-in types (src/include/catalog/pg_type.dat).
const (
	oidText    = 25
	oidVarchar = 1043
)

// Assign checks that the expression can be stored in the column as it is. Where the types differ, the server would
// mix stored and computed values in the wider of the two, so the user has to write the cast.
func Assign(ctx context.Context, tx pgx.Tx, scope Scope, a Assignment) (*Value, error) {
	name := scope.Table.Name.Column(a.Column)
	what := "Expression for column " + name
	value, err := Compile(ctx, tx, scope, what, a.SQL)
	if err != nil {
		return nil, err
	}
	target, err := scope.columnType(ctx, tx, a.Column)
	if err != nil {
		return nil, err
	}
	prefix := "SELECT coalesce(" + pg.Quote(a.Column) + ", ("
	description, err := describe(ctx, tx, "SELECT coalesce("+pg.Quote(a.Column)+", "+Parenthesize(a.SQL)+") FROM "+scope.from())
	if err != nil {
		return nil, explain(what, a.SQL, err, len([]rune(prefix)), fmt.Sprintf(
			"The column is of type %s and the expression of type %s. Write the cast:\n\n  (%s)::%s",
			target.SQL, value.Type.SQL, a.SQL, target.SQL))
	}
	mixed := description.Fields[0].DataTypeOID
	same := mixed == target.OID || mixed == target.base || (isText(mixed) && isText(target.base))
	if a.Compares && !isText(target.base) && target.Typmod >= 0 && value.Type.Typmod != target.Typmod {
		same = false
	}
	if !same {
		return nil, finding.New(fmt.Sprintf("%s is of type %s, the column of type %s", what, value.Type.SQL, target.SQL),
			fmt.Sprintf("Storing it would change the value silently. Write the cast, so that the plan shows it:\n\n  (%s)::%s",
				a.SQL, target.SQL))
	}
	if target.composite && !a.Compares {
		return nil, finding.New(fmt.Sprintf("Column %s is of the composite type %s", name, target.SQL),
			"IS NULL looks into composite values, so that \"not filled yet\" cannot be told from \"filled with NULLs\". "+
				"Fill it with a backfill that has overwrite = true, which compares whole values, and narrow it with where if needed.")
	}
	return value, nil
}

func isText(oid uint32) bool { return oid == oidText || oid == oidVarchar }

// targetType is a column's type, with the type under its domains.
type targetType struct {
	pg.Type
	base      uint32
	composite bool
}

func (s Scope) columnType(ctx context.Context, tx pgx.Tx, column string) (t targetType, err error) {
	if c, exists := s.Table.Column(column); exists {
		t.Type = c.Type
	} else if t.Type, err = ResolveType(ctx, tx, s.Planned[column]); err != nil {
		return t, err
	}
	err = tx.QueryRow(ctx, `
		WITH RECURSIVE under(oid, base, kind) AS (
		  SELECT oid, typbasetype, typtype FROM pg_type WHERE oid = $1
		  UNION ALL
		  SELECT t.oid, t.typbasetype, t.typtype FROM under u JOIN pg_type t ON t.oid = u.base
		)
		SELECT oid, kind = 'c' FROM under WHERE base = 0`, t.OID).Scan(&t.base, &t.composite)
	if err != nil {
		return t, fmt.Errorf("read type %s: %w", t.SQL, err)
	}
	return t, nil
}
