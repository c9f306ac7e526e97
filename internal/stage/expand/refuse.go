package expand

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// rewrites says what a rewrite is, after what causes it.
const rewrites = "rewrites the table and all its indexes under an ACCESS EXCLUSIVE lock"

// refusal collects what is wrong with a column, and the way that is right.
type refusal struct {
	column    string
	summary   string
	attribute string
	reasons   []string
	// final means that a reason is among them that allow does not take away.
	final  bool
	staged *staged
}

// because adds a reason. The first one names the attribute and the summary.
func (r *refusal) because(attribute, summary, reason string) {
	r.unlessAllowed(attribute, summary, reason)
	r.final = true
}

func (r *refusal) unlessAllowed(attribute, summary, reason string) {
	if len(r.reasons) == 0 {
		r.attribute, r.summary = attribute, summary
	}
	r.reasons = append(r.reasons, reason)
}

func (r *refusal) finding(table *pg.Table) error {
	if len(r.reasons) == 0 {
		return nil
	}
	accept := ""
	if !r.final {
		accept = fmt.Sprintf("To accept the rewrite, in a maintenance window, set this in the resource:\n\n  allow = [%q]", TableRewrite)
	}
	return finding.New(r.summary, finding.Paragraphs(strings.Join(r.reasons, "\n\n"),
		fmt.Sprintf("Table %s has %s. While such a lock is held, or waited for, all reads and writes of the table wait.", table.Name, size(table)),
		r.staged.String(), accept)).At("columns", r.column, r.attribute)
}

// refuseNew refuses a column that the server could not add without touching every row. rewrite says why adding it rewrites
// the table, where the user has accepted that.
func (s *Spec) refuseNew(ctx context.Context, tx pgx.Tx, table *pg.Table, name string) (rewrite string, err error) {
	column, full := s.Columns[name], s.Table.Column(name)
	base, addOns := expression.SplitType(column.Type)
	resolved, err := expression.ResolveType(ctx, tx, base)
	if err != nil {
		return "", at(err, name, "type")
	}
	w := &staged{table: s.Table, column: name, Column: Column{Type: base, Default: column.Default, NotNull: column.NotNull}}
	r := &refusal{column: name, staged: w}
	r.addOns(full, column.Type, addOns, table.Partitioned)
	accepts := s.allowsRewrite() && len(r.reasons) == 0

	var accepted []string
	under, err := readDomain(ctx, tx, resolved)
	if err != nil {
		return "", err
	}
	switch {
	case !under.constrained():
	case accepts:
		accepted = append(accepted, "its type is the domain "+resolved.SQL+", which has a constraint or a default")
	default:
		r.unlessAllowed("type", fmt.Sprintf("Column %s would be of the domain %s, which has a constraint or a default", full, resolved.SQL),
			fmt.Sprintf("Adding a column of such a domain %s.", rewrites))
		w.underneath(under)
	}
	volatile, err := isVolatile(ctx, tx, full, w)
	switch {
	case err != nil:
		return "", at(err, name, r.defaultAttribute(column))
	case !volatile:
	case accepts:
		accepted = append(accepted, "its default is volatile")
	default:
		r.unlessAllowed(r.defaultAttribute(column), fmt.Sprintf("Default of column %s is volatile", full),
			fmt.Sprintf("It gives another value for each row, so that adding the column %s.", rewrites))
		w.fillWith(w.Default)
	}
	if column.NotNull && column.Default == "" && under.fallback == "" && w.Default == "" && w.fill == "" {
		r.because("not_null", fmt.Sprintf("Column %s is NOT NULL without a default", full),
			"The rows that exist would have no value for it: the server checks them all under an ACCESS EXCLUSIVE lock, and refuses. Services that "+
				"do not know the column yet could not insert, either.")
	}
	if w.NotNull && w.Default == "" {
		w.NotNull = false
		w.after = append(notNullByHand(s.Table, name), w.after...)
		w.mention("Once every row has a value and every service writes one, the column can become NOT NULL; then set not_null = true in its block.")
	}
	if len(r.reasons) == 0 {
		return strings.Join(accepted, ", and "), nil
	}
	for _, sql := range []*string{&w.fill, &w.keep} {
		if *sql, err = converted(ctx, tx, table, *sql, w.Type); err != nil {
			return "", err
		}
	}
	return "", r.finding(table)
}

// converted adds the cast to an expression that a backfill or a sync asks for, which convert nothing silently. What does not
// compile, or not yet, stays as it is.
func converted(ctx context.Context, tx pgx.Tx, table *pg.Table, sql, to string) (string, error) {
	var f *finding.Finding
	if sql == "" {
		return "", nil
	}
	value, err := expression.Compile(ctx, tx, expression.Scope{Table: table}, "it", sql)
	if errors.As(err, &f) {
		return sql, nil
	}
	if err != nil {
		return "", err
	}
	resolved, err := expression.ResolveType(ctx, tx, to)
	if err != nil || value.Type.OID == resolved.OID && resolved.Typmod < 0 || isText(value.Type.OID) && isText(resolved.OID) {
		return sql, err
	}
	return fmt.Sprintf("(%s)::%s", sql, to), nil
}

func isText(oid uint32) bool { return oid == oidText || oid == oidVarchar }

// isVolatile compiles the default, if there is one.
func isVolatile(ctx context.Context, tx pgx.Tx, full string, w *staged) (bool, error) {
	if w.Default == "" {
		return false, nil
	}
	return expression.CheckConstant(ctx, tx, "Default of column "+full, w.Default, w.Type)
}

// defaultAttribute says where the default was written: behind the type, too.
func (r *refusal) defaultAttribute(column Column) string {
	if column.Default == "" {
		return "type"
	}
	return "default"
}

// fillWith moves a volatile expression from the default to a backfill.
func (w *staged) fillWith(sql string) {
	w.Default, w.fill = "", sql
	w.mention("A default that comes later is for new rows only and changes metadata only. So that none is left out, apply the expand alone, " +
		"then add this to its column and apply again, and let the backfill come last:\n\n" + finding.Indent("default = "+hclString(sql)))
}

func (w *staged) mention(remark string) { w.remark = finding.Paragraphs(w.remark, remark) }

// byPartition says what the SQL for one table cannot do (documentation, 5.12.2.1; foreign keys up to PostgreSQL 17).
const byPartition = "The table is partitioned, for which the SQL below goes by partition. An index is made with CREATE INDEX ON ONLY, built concurrently on each " +
	"partition, and attached; a key must hold the partition key. Before PostgreSQL 18 each partition gets a foreign key of its own."

// addOns takes apart what was written behind the type.
func (r *refusal) addOns(full, text string, addOns []expression.AddOn, partitioned bool) {
	w := r.staged
	for _, a := range addOns {
		reason := ""
		switch a.Kind {
		case expression.Serial, expression.Identity:
			sequence := pg.TableName{Schema: w.table.Schema, Name: pg.FitName(w.table.Name+"_"+w.column, "_seq")}
			w.before = append(w.before, fmt.Sprintf("CREATE SEQUENCE %s;", sequence.SQL()))
			next := "nextval(" + pg.Literal(sequence.SQL()) + "::regclass)"
			if typeName(w.Type) != "bigint" {
				next += "::" + w.Type // A backfill converts nothing silently.
			}
			w.fillWith(next)
			w.after = append(w.after, fmt.Sprintf("ALTER SEQUENCE %s OWNED BY %s.%s;", sequence.SQL(), w.table.SQL(), pg.Quote(w.column)))
			w.NotNull = true
			reason = fmt.Sprintf("An identity column takes another value of a sequence for each row: adding it %s.", rewrites)
			if a.Kind == expression.Serial {
				reason = fmt.Sprintf("%s is an integer whose default takes another value of a sequence for each row: adding it %s.", a.SQL, rewrites)
			}
		case expression.Generated:
			w.keep = a.Argument
			reason = fmt.Sprintf("A stored generated column is computed for each row: adding it %s. A trigger keeps a plain column as well.", rewrites)
			if strings.Contains(strings.ToUpper(a.SQL), "VIRTUAL") {
				reason = "A virtual generated column takes an ACCESS EXCLUSIVE lock for a moment, but no stage can fill it or keep it. A trigger keeps a plain " +
					"column as well."
				w.mention(fmt.Sprintf("Or add it by hand, which PostgreSQL 18 can:\n\n  ALTER TABLE %s ADD COLUMN %s %s %s", w.table.SQL(), pg.Quote(w.column), w.Type, a.SQL))
			}
		case expression.Default:
			if w.Default == "" {
				w.Default = a.Argument
			}
			reason = "Set default in the column's block instead, where it is checked: a constant takes an ACCESS EXCLUSIVE lock for a moment, but a " +
				"volatile default " + rewrites + "."
		case expression.NotNull:
			w.NotNull = true
			reason = "Set not_null in the column's block instead, which needs a constant default. Without one the server checks every row under an " +
				"ACCESS EXCLUSIVE lock."
		case expression.Null:
			reason = "A column is nullable unless not_null is set. It takes an ACCESS EXCLUSIVE lock for a moment."
		case expression.Check:
			w.after = append(w.after, constraintByHand(w.table, w.column, "_check", a.SQL)...)
			reason = "An inline constraint CHECK scans the table under an ACCESS EXCLUSIVE lock."
		case expression.References:
			w.after = append(w.after, constraintByHand(w.table, w.column, "_fkey", "FOREIGN KEY ("+pg.Quote(w.column)+") "+a.SQL)...)
			reason = "An inline constraint REFERENCES takes an ACCESS EXCLUSIVE lock here and a SHARE ROW EXCLUSIVE lock on the other table, in one go."
		case expression.Unique:
			w.after = append(w.after, uniqueByHand(w.table, w.column, "_key", "UNIQUE")...)
			reason = "An inline constraint UNIQUE scans the table and builds an index under an ACCESS EXCLUSIVE lock."
		case expression.PrimaryKey:
			w.NotNull = true
			w.after = append(w.after, uniqueByHand(w.table, w.column, "_pkey", "PRIMARY KEY")...)
			reason = "An inline constraint PRIMARY KEY scans the table and builds an index under an ACCESS EXCLUSIVE lock."
		case expression.Collate:
			w.before = append(w.before, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s %s;", w.table.SQL(), pg.Quote(w.column), w.Type, a.SQL))
			w.adopt = true
			reason = "A collation cannot be given with the type. Adding the column takes an ACCESS EXCLUSIVE lock for a moment; changing the collation " +
				"later rebuilds every index on the column under that lock."
		}
		if partitioned && slices.Contains([]expression.AddOnKind{expression.Unique, expression.PrimaryKey, expression.References}, a.Kind) {
			w.mention(byPartition)
		}
		r.because("type", fmt.Sprintf("Type of column %s is unknown: %q is more than a type", full, text), reason)
	}
}

// underneath replaces a domain by its type, and what it demands by constraints.
func (w *staged) underneath(d domain) {
	w.Type = d.base
	if w.Default == "" {
		w.Default = d.fallback
	}
	for i, check := range d.checks {
		suffix := "_check"
		if i > 0 {
			suffix = fmt.Sprintf("_check%d", i)
		}
		w.after = append(w.after, constraintByHand(w.table, w.column, suffix, expression.ReplaceWord(check, "VALUE", pg.Quote(w.column)))...)
	}
	w.NotNull = w.NotNull || d.notNull
}

// refuseChange refuses what would touch every row of a column that is there. rewrite says why changing it rewrites the table,
// where the user has accepted that.
func (s *Spec) refuseChange(ctx context.Context, tx pgx.Tx, table *pg.Table, records []*ledger.Stage, existing pg.Column) (rewrite string, err error) {
	name := existing.Name
	column, full := s.Columns[name], s.Table.Column(name)
	base, addOns := expression.SplitType(column.Type)
	resolved, err := expression.ResolveType(ctx, tx, base)
	if err != nil {
		return "", at(err, name, "type")
	}
	r := &refusal{column: name, staged: &staged{table: s.Table, column: name, Column: Column{Type: base, Default: column.Default, NotNull: existing.NotNull}}}
	if r.addOns(full, column.Type, addOns, table.Partitioned); len(r.reasons) > 0 {
		r.staged.NotNull = existing.NotNull
		r.staged.before, r.staged.fill, r.staged.keep, r.staged.remark, r.staged.adopt = nil, "", "", "", false // The column is there.
		return "", r.finding(table)
	}
	if column.Default != "" {
		// SET DEFAULT is for the rows to come, so that it may be volatile.
		if _, err := expression.CheckConstant(ctx, tx, "Default of column "+full, column.Default, column.Type); err != nil {
			return "", at(err, name, "default")
		}
	}
	if column.NotNull && !existing.NotNull {
		return "", s.refuseNotNull(full, table, name)
	}
	if existing.Type.Equal(resolved) {
		return "", nil
	}
	return s.refuseRetype(ctx, tx, table, records, existing, resolved)
}

func (s *Spec) refuseNotNull(full string, table *pg.Table, name string) error {
	r := &refusal{column: name, staged: &staged{table: s.Table, column: name, after: notNullByHand(s.Table, name)}}
	if fallback := s.Columns[name].Default; fallback != "" {
		r.staged.fill = fallback
	}
	r.staged.mention("No row may be NULL any more, and no service may insert one.")
	r.because("not_null", fmt.Sprintf("Column %s cannot become NOT NULL in place", full),
		"SET NOT NULL scans the table under an ACCESS EXCLUSIVE lock. A CHECK that was validated before, which keeps nobody waiting, spares the scan. "+
			"Apply this configuration after that; it finds it done.")
	return r.finding(table)
}

// at names the attribute of an error that has none.
func at(err error, column, attribute string) error {
	var f *finding.Finding
	if errors.As(err, &f) && len(f.Attribute) == 0 {
		f.At("columns", column, attribute)
	}
	return err
}

// alreadyThere says that somebody else added the column, and how to take it over.
func (s *Spec) alreadyThere(name string) error {
	return finding.New(fmt.Sprintf("Column %s already exists", s.Table.Column(name)),
		fmt.Sprintf("It was not added by this resource. If it is the column you mean, import it:\n\n  terraform import "+
			"postgres_column_expand.NAME '%s'", pg.FormatID(s.Table, s.Names()))).At("columns", name, "type")
}

// domain is what a type that is a domain demands of its values, with the domains under it.
type domain struct {
	base, fallback string
	notNull        bool
	checks         []string
}

func (d domain) constrained() bool { return d.notNull || d.fallback != "" || len(d.checks) > 0 }

// readDomain reads what the server would have to compute or check for every row of a column of the type.
func readDomain(ctx context.Context, tx pgx.Tx, t pg.Type) (d domain, err error) {
	err = tx.QueryRow(ctx, `
		WITH RECURSIVE under(oid, base, typmod, not_null, fallback, depth) AS (
		  SELECT oid, typbasetype, typtypmod, typnotnull, typdefault, 1 FROM pg_type WHERE oid = $1 AND typtype = 'd'
		  UNION ALL
		  SELECT t.oid, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefault, depth + 1
		    FROM under u JOIN pg_type t ON t.oid = u.base AND t.typtype = 'd'
		)
		SELECT coalesce((SELECT format_type(base, typmod) FROM under ORDER BY depth DESC LIMIT 1), ''),
		       coalesce((SELECT fallback FROM under WHERE fallback IS NOT NULL ORDER BY depth LIMIT 1), ''),
		       coalesce((SELECT bool_or(not_null) FROM under), false),
		       ARRAY(SELECT pg_get_constraintdef(c.oid) FROM under u JOIN pg_constraint c ON c.contypid = u.oid
		              WHERE c.contype = 'c' ORDER BY depth, c.conname)`, t.OID).Scan(&d.base, &d.fallback, &d.notNull, &d.checks)
	if err != nil {
		return d, fmt.Errorf("read type %s: %w", t.SQL, err)
	}
	return d, nil
}

// OIDs of built-in types (src/include/catalog/pg_type.dat).
const (
	oidText    = 25
	oidJSON    = 114
	oidVarchar = 1043
)

// warnOfJSON tells of a type that cannot be compared, which is found out late. existing is the column, if it is there.
func (s *Spec) warnOfJSON(ctx context.Context, tx pgx.Tx, found *inspection, existing pg.Column, name string) error {
	t, err := expression.ResolveType(ctx, tx, s.Columns[name].Type)
	if err != nil || t.Equal(existing.Type) {
		return err
	}
	d, err := readDomain(ctx, tx, t)
	if err != nil {
		return err
	}
	if t.OID == oidJSON || d.base == "json" {
		found.warnings = append(found.warnings, finding.New(fmt.Sprintf("Column %s is of type json, which has no equality operator", s.Table.Column(name)),
			"Statements that compare its values fail: SELECT DISTINCT, GROUP BY and UNION. The type jsonb has one:\n\n  type = \"jsonb\""))
	}
	return nil
}
