// Package expression compiles the users' SQL expressions against the live table, without running them: the
// server's own parser says whether they are right, what type they have and which columns they read.
package expression

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Scope is what an expression can see: one row of a table, and columns that an earlier stage of the same plan is
// going to add.
type Scope struct {
	Table *pg.Table
	// Planned maps the names of columns that do not exist yet to their types. Where the table already has the column,
	// the table wins.
	Planned map[string]string
}

// Value is what the server says of an expression.
type Value struct {
	Type pg.Type
	// Reads are the columns whose values it depends on, sorted.
	Reads []string
}

// Parenthesize returns the expression in parentheses, so that it can stand anywhere. A line comment inside must not
// swallow the closing one.
func Parenthesize(sql string) string {
	if strings.Contains(sql, "--") {
		return "(" + sql + "\n)"
	}
	return "(" + sql + ")"
}

// Compile checks that the expression is one value of one row, and returns what it is. The finding it returns marks
// the position of an error; its subject is named by what ("Expression for column public.users.first_name").
func Compile(ctx context.Context, tx pgx.Tx, scope Scope, what, sql string) (*Value, error) {
	value := Parenthesize(sql)
	// WHERE rejects what is not a value of one row: aggregates, window functions, set-returning functions.
	description, err := describe(ctx, tx, "SELECT "+value+" AS value FROM "+scope.from()+" WHERE "+value+" IS NOT NULL")
	if err != nil {
		return nil, explain(what, sql, err, len("SELECT ("), "")
	}
	if len(description.Fields) != 1 || len(description.ParamOIDs) > 0 {
		return nil, finding.New(what+" is not a single expression",
			"It must be one SQL expression without parameters:\n\n"+finding.Indent(sql))
	}
	field := description.Fields[0]
	v := &Value{Type: pg.Type{OID: field.DataTypeOID, Typmod: field.TypeModifier}}
	err = tx.QueryRow(ctx, `SELECT format_type($1::oid, $2::int)`, v.Type.OID, v.Type.Typmod).Scan(&v.Type.SQL)
	if err != nil {
		return nil, fmt.Errorf("name the type of %q: %w", sql, err)
	}
	v.Reads, err = scope.reads(ctx, tx, sql)
	return v, err
}

// Condition checks a boolean expression.
func Condition(ctx context.Context, tx pgx.Tx, scope Scope, what, sql string) (*Value, error) {
	const boolOID = 16
	v, err := Compile(ctx, tx, scope, what, sql)
	if err != nil {
		return nil, err
	}
	if v.Type.OID != boolOID {
		return nil, finding.New(fmt.Sprintf("%s is of type %s, not boolean", what, v.Type.SQL), finding.Indent(sql))
	}
	return v, nil
}

// IsVolatile reports whether the expression may give another value each time. The planner tells: it does not merge
// a subquery into the outer query when its output is volatile (src/backend/optimizer/prep/prepjointree.c,
// is_simple_subquery).
func IsVolatile(ctx context.Context, tx pgx.Tx, scope Scope, sql string) (bool, error) {
	return isVolatile(ctx, tx, scope.from(), sql)
}

func isVolatile(ctx context.Context, tx pgx.Tx, from, sql string) (bool, error) {
	const alias = "expression_value"
	var plan string
	err := tx.QueryRow(ctx, fmt.Sprintf("EXPLAIN (FORMAT JSON) SELECT FROM (SELECT %s AS value FROM %s) AS %s WHERE value IS NOT NULL",
		Parenthesize(sql), from, alias)).Scan(&plan)
	if err != nil {
		return false, fmt.Errorf("look whether %q is volatile: %w", sql, err)
	}
	return strings.Contains(plan, `"Alias": "`+alias+`"`), nil
}

// Predicate checks a whole condition that the provider has composed from compiled expressions: what can still be
// wrong is that types do not compare.
func Predicate(ctx context.Context, tx pgx.Tx, scope Scope, what, sql string) error {
	_, err := describe(ctx, tx, "SELECT FROM "+scope.from()+" WHERE "+sql)
	if err != nil {
		return explain(what, sql, err, utf8.RuneCountInString("SELECT FROM "+scope.from()+" WHERE "), "")
	}
	return nil
}

// from renders the scope as a FROM item named like the table.
func (s Scope) from() string {
	alias := pg.Quote(s.Table.Name.Name)
	planned := s.plannedOutputs()
	if len(planned) == 0 {
		return s.Table.Name.SQL() + " AS " + alias
	}
	var columns []string
	for _, c := range s.Table.Columns {
		columns = append(columns, pg.Quote(c.Name))
	}
	return fmt.Sprintf("(SELECT %s FROM %s) AS %s", strings.Join(append(columns, planned...), ", "), s.Table.Name.SQL(), alias)
}

// plannedOutputs renders the columns that are only planned, as outputs of a SELECT.
func (s Scope) plannedOutputs() []string {
	var outputs []string
	for _, name := range slices.Sorted(maps.Keys(s.Planned)) {
		if _, exists := s.Table.Column(name); !exists {
			outputs = append(outputs, fmt.Sprintf("NULL::%s AS %s", s.Planned[name], pg.Quote(name)))
		}
	}
	return outputs
}

// reads finds the columns that the value depends on, by asking the planner: of a subquery that it cannot merge, it
// replaces the outputs that nobody uses by NULL (src/backend/optimizer/path/allpaths.c, remove_unused_subquery_outputs).
// Only columns whose name is somewhere in the text can be among them, unless it uses the whole row.
func (s Scope) reads(ctx context.Context, tx pgx.Tx, sql string) ([]string, error) {
	var all, candidates []string
	for _, c := range s.Table.Columns {
		all = append(all, c.Name)
		if strings.Contains(strings.ToLower(sql), strings.ToLower(strings.ReplaceAll(c.Name, `"`, `""`))) {
			candidates = append(candidates, c.Name)
		}
	}
	if usesWholeRow(sql, s.Table.Name.Name) {
		candidates = all
	}
	if len(candidates) == 0 {
		return nil, nil
	}
	outputs := append([]string{}, candidates...)
	for i := range outputs {
		outputs[i] = pg.Quote(outputs[i])
	}
	alias := pg.Quote(s.Table.Name.Name)
	query := fmt.Sprintf("SELECT %s IS NULL FROM (SELECT %s FROM %s OFFSET 0) AS %s", Parenthesize(sql),
		strings.Join(append(outputs, s.plannedOutputs()...), ", "), s.Table.Name.SQL(), alias)
	scan, err := s.subqueryScan(ctx, tx, query)
	if err != nil && !pg.IsInsufficientPrivilege(err) {
		return nil, fmt.Errorf("find the columns that %q reads: %w", sql, err)
	}
	if scan == nil || len(scan.Output) < len(candidates) {
		// The role may not look, or there is nothing to look at: no partition, or a policy that hides all rows.
		slices.Sort(candidates)
		return candidates, nil
	}
	var reads []string
	for i, name := range candidates {
		if !strings.HasPrefix(scan.Output[i], "NULL::") {
			reads = append(reads, name)
		}
	}
	slices.Sort(reads)
	return reads, nil
}

// planNode is what is needed of a node of EXPLAIN's JSON.
type planNode struct {
	Type     string     `json:"Node Type"`
	Relation string     `json:"Parent Relationship"`
	Output   []string   `json:"Output"`
	Plans    []planNode `json:"Plans"`
}

// subqueryScan explains a query over one subquery and returns the plan of the subquery, or nil when the planner knows
// that it gives no row.
func (s Scope) subqueryScan(ctx context.Context, tx pgx.Tx, query string) (*planNode, error) {
	var document []byte
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
		return savepoint.QueryRow(ctx, "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) "+query).Scan(&document)
	})
	if err != nil {
		return nil, err
	}
	var explained []struct{ Plan planNode }
	if err := json.Unmarshal(document, &explained); err != nil {
		return nil, err
	}
	for _, child := range explained[0].Plan.Plans {
		if child.Relation != "Subquery" {
			continue
		}
		// The node over partitions has no output of its own; each of them has the same.
		for len(child.Output) == 0 && len(child.Plans) > 0 {
			child = child.Plans[0]
		}
		if child.Type != "Result" {
			return &child, nil
		}
	}
	return nil, nil
}

// usesWholeRow reports whether the text names the table other than to qualify one column: row_to_json(users),
// users.*. It may say yes too often; the planner has the last word.
func usesWholeRow(sql, table string) bool {
	name := regexp.QuoteMeta(table)
	mention := regexp.MustCompile(`(?i)(?:\A|[^\w"$])"?` + name + `"?(\s*\.\s*[\p{L}_"])?`)
	for _, m := range mention.FindAllStringSubmatchIndex(sql, -1) {
		after := sql[m[1]:]
		if m[2] < 0 && !continuesName(after) {
			return true
		}
	}
	return false
}

var nameContinues = regexp.MustCompile(`\A[\p{L}\p{N}_$]`)

func continuesName(rest string) bool { return nameContinues.MatchString(rest) }

// describe has the server parse and analyze a statement without running it. It uses the unnamed prepared statement
// inside a savepoint, so that an error leaves the transaction usable.
func describe(ctx context.Context, tx pgx.Tx, sql string) (*pgconn.StatementDescription, error) {
	var description *pgconn.StatementDescription
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) (err error) {
		description, err = savepoint.Conn().PgConn().Prepare(ctx, "", sql, nil)
		return err
	})
	return description, err
}

// explain turns the server's error about a statement into a finding that marks the place in the expression, which
// begins at the given offset of the statement, in characters.
func explain(what, sql string, err error, offset int, advice string) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return fmt.Errorf("compile %q: %w", sql, err)
	}
	if pg.IsContention(err) || pg.IsConnectionLost(err) || e.Code == "57014" {
		return fmt.Errorf("compile %q: %w", sql, err)
	}
	switch e.Code {
	case "42803", "42P20", "0A000":
		advice = "The expression is evaluated for one row at a time: aggregate, window and set-returning functions cannot " +
			"be used in it, unless inside a subquery that gives one value."
	case "42703":
		advice = finding.Paragraphs(advice, "If an earlier stage is going to add the column, refer to that stage's table "+
			"attribute, so that it is planned first.")
	}
	message := "The server says: " + e.Message + "."
	if e.Hint != "" {
		message += " " + e.Hint
	}
	return finding.New(what+" does not compile",
		finding.Paragraphs(message, finding.Indent(mark(sql, int(e.Position)-1-offset)), advice, "SQLSTATE "+e.Code)).Because(err)
}

// mark returns the text with a caret line under the character at that position, or the text alone when the position
// is outside.
func mark(sql string, position int) string {
	characters := []rune(sql)
	if position < 0 || position >= len(characters) {
		return sql
	}
	before := string(characters[:position])
	column := position
	if i := strings.LastIndex(before, "\n"); i >= 0 {
		column = len([]rune(before[i+1:]))
	}
	end := strings.Index(string(characters[position:]), "\n")
	rest := string(characters[position:])
	if end < 0 {
		return before + rest + "\n" + strings.Repeat(" ", column) + "^"
	}
	return before + rest[:end] + "\n" + strings.Repeat(" ", column) + "^" + rest[end:]
}

// CheckConstant checks an expression that stands alone, such as a column's default, and reports whether it is volatile.
func CheckConstant(ctx context.Context, tx pgx.Tx, what, sql, typeName string) (volatile bool, err error) {
	value := Parenthesize(sql)
	description, err := describe(ctx, tx, fmt.Sprintf("SELECT (%s::%s) WHERE %s IS NOT NULL", value, typeName, value))
	if err != nil {
		return false, explain(what, sql, err, len("SELECT (("), "")
	}
	if len(description.Fields) != 1 || len(description.ParamOIDs) > 0 {
		return false, finding.New(what+" is not a single expression",
			"It must be one SQL expression without parameters:\n\n"+finding.Indent(sql))
	}
	return isVolatile(ctx, tx, "pg_catalog.pg_class", sql)
}
