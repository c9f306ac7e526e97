package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// archive is where the values of dropped columns are that nothing else gives back.
type archive struct {
	// Key are the columns that tell the rows apart.
	Key  []string
	Rows int64
	// Walked says how far each relation has been copied.
	Walked map[uint32]walked
}

// walked is a checkpoint: the pages below Next are copied, as long as the relation is not rewritten.
type walked struct {
	Filenode uint32
	Next     int64
}

// archiveName is a function of the identity.
func (s *Spec) archiveName() pg.TableName {
	name := pg.FitName("archive_"+s.Table.Name+"_"+strings.Join(s.Columns, "_"), fmt.Sprintf("_%08x", pg.Hash(s.ID)))
	return pg.TableName{Schema: s.Schema, Name: name}
}

func (s *Spec) dropArchive() string { return "DROP TABLE IF EXISTS " + s.archiveName().SQL() }

// previewArchive renders how the archive is made, as far as the configuration tells.
func (s *Spec) previewArchive() []ddl.Statement {
	outputs := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		outputs[i] = pg.Quote(quarantined(c)) + " AS " + pg.Quote(c)
	}
	list := "/* the primary key, */ " + strings.Join(outputs, ", ")
	return []ddl.Statement{
		{SQL: fmt.Sprintf("CREATE TABLE %s AS\nSELECT %s\n  FROM %s\n  WITH NO DATA", s.archiveName().SQL(), list, s.Table.SQL()), Lock: ddl.AccessShare, Effect: ddl.MetadataOnly},
		{
			SQL: fmt.Sprintf("INSERT INTO %s\nSELECT %s\n  FROM %s AS %s\n WHERE ctid >= $1::tid AND ctid < $2::tid /* and reverse does not give the value */\n"+
				"    ON CONFLICT DO NOTHING", s.archiveName().SQL(), list, s.Table.SQL(), pg.Quote(s.Table.Name)),
			Lock: ddl.AccessShare, Effect: ddl.BatchedCopy,
		},
	}
}

// archiveKey returns the columns by which the rows of a table are found again, or none.
func archiveKey(table *pg.Table) (key []string) {
	if !table.Partitioned && len(table.Leaves) > 1 {
		return nil // Inheritance children do not have the parent's primary key.
	}
	for _, number := range table.PrimaryKey {
		if c, exists := table.ColumnByNumber(number); exists {
			key = append(key, c.Name)
		}
	}
	return key
}

// checkArchivable refuses an archive of rows that nothing tells apart, or that the role cannot all see.
func (s *Spec) checkArchivable(ctx context.Context, tx pgx.Tx, table *pg.Table) error {
	if len(archiveKey(table)) == 0 {
		return finding.New(fmt.Sprintf("Table %s has no primary key to archive by", s.Table),
			"The archive keeps the values of the columns by the primary key of their rows, so that an undo finds these again. Give the table a "+
				"primary key, or do without the archive; then nothing brings the values back:\n\n  archive = false").At("archive")
	}
	if err := (ledger.Ledger{Schema: s.Schema}).CheckCreate(ctx, tx); err != nil {
		return err
	}
	return pg.RequireAllRows(ctx, tx, table)
}

// copyTask is what one pass over the table copies.
type copyTask struct {
	spec    *Spec
	columns map[string]taken
	key     []string
	// present is the name of a column in the table at the moment.
	present func(column string) string
}

// newSide returns the columns from which reverse expressions compute, sorted.
func (c *copyTask) newSide() (columns []string) {
	for _, was := range c.columns {
		columns = append(columns, was.From...)
	}
	slices.Sort(columns)
	return slices.Compact(columns)
}

// outputs returns the columns of the archive, each with its name in the table.
func (c *copyTask) outputs() (names, values []string) {
	add := func(name, value string) {
		if !slices.Contains(names, pg.Quote(name)) {
			names = append(names, pg.Quote(name))
			values = append(values, c.qualify(value))
		}
	}
	for _, name := range c.key {
		add(name, name)
	}
	for _, name := range stage.SortedKeys(c.columns) {
		add(name, c.present(name))
	}
	for _, name := range c.newSide() {
		add(name, name)
	}
	return names, values
}

func (c *copyTask) qualify(column string) string {
	return pg.Quote(c.spec.Table.Name) + "." + pg.Quote(column)
}

// lost is the condition under which a row has a value that nothing would give back. Values are compared by their stored image:
// an undo is to give back the very bytes.
func (c *copyTask) lost() string {
	var conditions []string
	for _, name := range stage.SortedKeys(c.columns) {
		was, column := c.columns[name], c.qualify(c.present(name))
		if was.Reverse == "" {
			conditions = append(conditions, fmt.Sprintf("%s IS DISTINCT FROM NULL", column))
			continue
		}
		conditions = append(conditions, fmt.Sprintf("ROW(%s)::record OPERATOR(pg_catalog.*<>) ROW(%s::%s)::record", column,
			expression.Parenthesize(was.Reverse), was.Type))
	}
	return "(" + strings.Join(conditions, "\n        OR ") + ")"
}

// create renders the archive's table. It has the types and collations of what it keeps.
func (c *copyTask) create() []string {
	names, values := c.outputs()
	outputs := make([]string, len(names))
	for i := range names {
		outputs[i] = values[i] + " AS " + names[i]
	}
	table := c.spec.archiveName()
	return []string{
		fmt.Sprintf("CREATE TABLE %s AS\nSELECT %s\n  FROM %s AS %s\n  WITH NO DATA", table.SQL(), strings.Join(outputs, ", "), c.spec.Table.SQL(),
			pg.Quote(c.spec.Table.Name)),
		fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", table.SQL(), pg.QuoteAll(c.key)),
		fmt.Sprintf("COMMENT ON TABLE %s IS %s", table.SQL(),
			pg.Literal(fmt.Sprintf("What the contract %s has dropped; its undo needs it", c.spec.ID))),
	}
}

// copyWindow renders a batch: the rows of pages $1 up to, but not including, $2.
func (c *copyTask) copyWindow(leaf pg.TableName) string {
	return c.insert("ONLY "+leaf.SQL(), fmt.Sprintf("%s >= $1::tid AND %s < $2::tid", c.qualifyRaw("ctid"), c.qualifyRaw("ctid")))
}

// sweep renders the statement that copies what the walk has missed, because it moved meanwhile: one look at all rows in one
// snapshot.
func (c *copyTask) sweep() string {
	return c.insert(c.spec.Table.SQL(), fmt.Sprintf("NOT EXISTS (SELECT FROM %s AS %s WHERE %s)", c.spec.archiveName().SQL(), c.spec.kept(), c.sameRow()))
}

// purge renders the statement that takes rows off the archive whose new side was written since, upon which the mirror has made
// the old one follow.
func (c *copyTask) purge() string {
	return fmt.Sprintf("DELETE FROM %s AS %s\n WHERE EXISTS (SELECT FROM %s AS %s WHERE %s\n   AND NOT %s)", c.spec.archiveName().SQL(), c.spec.kept(),
		c.spec.Table.SQL(), pg.Quote(c.spec.Table.Name), c.sameRow(), c.lost())
}

// sameRow is the condition under which a row of the archive is of a row of the table.
func (c *copyTask) sameRow() string {
	same := make([]string, len(c.key))
	for i, name := range c.key {
		same[i] = fmt.Sprintf("%s.%s = %s", c.spec.kept(), pg.Quote(name), c.qualify(name))
	}
	return strings.Join(same, " AND ")
}

// kept is what queries call the archive: anything but the name of the table, which its rows go by.
func (s *Spec) kept() string {
	if s.Table.Name == "kept" {
		return "archived"
	}
	return "kept"
}

func (c *copyTask) qualifyRaw(column string) string {
	return pg.Quote(c.spec.Table.Name) + "." + column
}

func (c *copyTask) insert(from, rows string) string {
	names, values := c.outputs()
	return fmt.Sprintf("INSERT INTO %s (%s)\nSELECT %s\n  FROM %s AS %s\n WHERE %s\n   AND %s\n    ON CONFLICT DO NOTHING", c.spec.archiveName().SQL(),
		strings.Join(names, ", "), strings.Join(values, ", "), from, pg.Quote(c.spec.Table.Name), rows, c.lost())
}
