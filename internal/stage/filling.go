package stage

import (
	"fmt"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// FillingSetting is the setting by which a backfill tells, for the length of a transaction, what it fills, so that a sync of
// the same columns takes no notice. It holds an array of keys, each with the OID of the table (the root of its
// partitions) before it.
const FillingSetting = "terraform_postgres.filling"

// Fills is the key of a backfill that fills the column.
func Fills(column string) string { return " >" + pg.Quote(column) }

// FillsFrom is the key of a backfill that fills the column from another one.
func FillsFrom(column, read string) string { return " " + pg.Quote(read) + ">" + pg.Quote(column) }

// FillsReading is the key of a backfill that fills some column and reads this one.
func FillsReading(read string) string { return " " + pg.Quote(read) + ">" }

// Filling returns the setting of a backfill that fills the columns from those that it reads.
func Filling(table *pg.Table, fills, reads []string) pg.Setting {
	var keys []string
	for _, read := range reads {
		keys = append(keys, FillsReading(read))
	}
	for _, column := range fills {
		keys = append(keys, Fills(column))
		for _, read := range reads {
			keys = append(keys, FillsFrom(column, read))
		}
	}
	for i, key := range keys {
		keys[i] = fmt.Sprint(table.Root) + key
	}
	return pg.Setting{Name: FillingSetting, Value: pg.TextArray(keys)}
}
