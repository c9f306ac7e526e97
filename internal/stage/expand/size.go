package expand

import (
	"fmt"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// size says how much there is to scan or rewrite: ~40,000,000 rows (12 GiB).
func size(table *pg.Table) string {
	return fmt.Sprintf("%s (%s)", ddl.Rows(table.EstimatedRows), ddl.Bytes(float64(table.Bytes)))
}
