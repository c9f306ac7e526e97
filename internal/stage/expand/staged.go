package expand

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// staged is the way to a column that keeps nobody waiting, as configuration and SQL to paste.
type staged struct {
	table  pg.TableName
	column string
	// Column is what an expand may add, or nothing when the column is there and stays as it is.
	Column
	// fill is an expression for the rows that exist; keep one that a sync keeps up for the rows that are written, too.
	fill, keep string
	// before and after are SQL to run by hand, each statement in its own transaction.
	before, after []string
	// adopt means that the SQL before adds the column, and the expand takes it over.
	adopt bool
	// remark says what the configuration cannot.
	remark string
}

// String renders it for the end of a finding.
func (w *staged) String() string {
	var parts []string
	if len(w.before) > 0 {
		parts = append(parts, "First run this, which takes no lock for longer than a moment:", finding.Indent(strings.Join(w.before, "\n")))
	}
	if blocks := w.blocks(); len(blocks) > 0 {
		parts = append(parts, "Use this instead, which keeps nobody waiting:")
		for _, b := range blocks {
			parts = append(parts, finding.Indent(b))
		}
	}
	parts = append(parts, w.remark)
	if len(w.after) > 0 {
		when := "Then run this"
		if w.fill != "" || w.keep != "" {
			when = "When the backfill is complete, run this"
		}
		parts = append(parts, when+", one statement after the other, each in its own transaction. Give all but CREATE INDEX CONCURRENTLY a short lock_timeout, and "+
			"repeat what it ends:", finding.Indent(strings.Join(w.after, "\n")))
	}
	return finding.Paragraphs(parts...)
}

// blocks renders the resources as terraform fmt does.
func (w *staged) blocks() (blocks []string) {
	label, table := w.label(), w.where()
	if w.Type != "" {
		if w.adopt {
			blocks = append(blocks, fmt.Sprintf("import {\n  to = postgres_column_expand.%s\n  id = %s\n}", label, hclString(pg.FormatID(w.table, []string{w.column}))))
		}
		column := "type = " + hclString(w.Type)
		if w.Default != "" {
			column += ", default = " + hclString(w.Default)
		}
		if w.NotNull {
			column += ", not_null = true"
		}
		blocks = append(blocks, block("column_expand", label, table, [2]string{"columns", fmt.Sprintf("{ %s = { %s } }", hclKey(w.column), column)}))
		table = w.following("column_expand")
	}
	if w.keep != "" {
		blocks = append(blocks, block("column_sync", label, table, [2]string{"forward", fmt.Sprintf("{ %s = %s }", hclKey(w.column), hclString(w.keep))}))
		blocks = append(blocks, block("batched_backfill", label,
			w.following("column_sync"), [2]string{"set", "postgres_column_sync." + label + ".forward"}))
	}
	if w.fill != "" {
		blocks = append(blocks, block("batched_backfill", label, table, [2]string{"set", fmt.Sprintf("{ %s = %s }", hclKey(w.column), hclString(w.fill))}))
	}
	return blocks
}

// where returns the attributes that name the table.
func (w *staged) where() [][2]string {
	attributes := [][2]string{{"table", hclString(w.table.Name)}}
	if w.table.Schema != "public" {
		attributes = append([][2]string{{"schema", hclString(w.table.Schema)}}, attributes...)
	}
	return attributes
}

// following names the table by the stage that comes before.
func (w *staged) following(stage string) [][2]string {
	attributes := w.where()
	attributes[len(attributes)-1][1] = fmt.Sprintf("postgres_%s.%s.table", stage, w.label())
	return attributes
}

var notInLabel = regexp.MustCompile(`[^a-z0-9_]+`)

// label is a name for the resources, which may hold few characters.
func (w *staged) label() string {
	label := notInLabel.ReplaceAllString(strings.ToLower(w.table.Name+"_"+w.column), "_")
	if label[0] >= '0' && label[0] <= '9' {
		label = "_" + label
	}
	return label
}

// block renders a resource with the attributes that name its table, and one of its own.
func block(stage, label string, table [][2]string, own [2]string) string {
	attributes, width := slices.Concat(table, [][2]string{own}), 0
	for _, a := range attributes {
		width = max(width, len(a[0]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "resource \"postgres_%s\" %q {\n", stage, label)
	for _, a := range attributes {
		fmt.Fprintf(&b, "  %-*s = %s\n", width, a[0], a[1])
	}
	return b.String() + "}"
}

var hclIdentifier = regexp.MustCompile(`\A[a-zA-Z_][a-zA-Z0-9_]*\z`)

// hclKey renders a key of an object. A word with a meaning of its own is quoted as well.
func hclKey(name string) string {
	if hclIdentifier.MatchString(name) && name != "for" && name != "null" && name != "true" && name != "false" {
		return name
	}
	return hclString(name)
}

var hclEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "${", "$${", "%{", "%%{")

// hclString renders a string.
func hclString(text string) string { return `"` + hclEscapes.Replace(text) + `"` }

// notNullByHand is how a column with values in every row becomes NOT NULL: the proof by a validated CHECK spares the server
// the scan under the lock. In one statement with the DROP it would not (the constraint is dropped first).
func notNullByHand(table pg.TableName, column string) []string {
	name := pg.Quote(pg.FitName(table.Name+"_"+column, "_is_not_null"))
	return []string{
		fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID;", table.SQL(), name, pg.Quote(column)),
		fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s;", table.SQL(), name),
		fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL;", table.SQL(), pg.Quote(column)),
		fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s;", table.SQL(), name),
	}
}

// constraintByHand adds a constraint without looking at the rows, and then looks at them under a lock that readers and writers
// pass. A partitioned table that refers to another one cannot have it NOT VALID before PostgreSQL 18.
func constraintByHand(table pg.TableName, column, suffix, definition string) []string {
	name := pg.Quote(pg.FitName(table.Name+"_"+column, suffix))
	return []string{
		fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s NOT VALID;", table.SQL(), name, definition),
		fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s;", table.SQL(), name),
	}
}

// uniqueByHand builds the index without a lock that writers wait for, and then makes the constraint of it.
func uniqueByHand(table pg.TableName, column, suffix, kind string) []string {
	name := pg.Quote(pg.FitName(table.Name+"_"+column, suffix))
	return []string{
		fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY %s ON %s (%s);", name, table.SQL(), pg.Quote(column)),
		fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s USING INDEX %s;", table.SQL(), name, kind, name),
	}
}
