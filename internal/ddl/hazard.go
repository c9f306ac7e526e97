package ddl

import (
	"fmt"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

// Hazard is something that the reviewer of a plan should weigh, by a type that policies can rely on. Like a statement it
// follows from the configuration alone.
type Hazard struct {
	Type    HazardType
	Message string
}

// HazardType is the stable name of a kind of hazard.
type HazardType string

// The hazards of the provider's stages.
const (
	// TakesAccessExclusiveLock means that reads and writes wait while a statement runs.
	TakesAccessExclusiveLock HazardType = "access_exclusive_lock"
	// TakesShareRowExclusiveLock means that writes wait while a statement runs.
	TakesShareRowExclusiveLock HazardType = "share_row_exclusive_lock"
	// RewritesTable means that the table and its indexes are written anew under a lock that nobody can pass: reads and writes
	// wait for the whole rewrite.
	RewritesTable HazardType = "table_rewrite"
	// UpdatesRows means that many rows are updated, in batches: WAL, replication and vacuum have work to do.
	UpdatesRows HazardType = "updates_rows"
	// OverwritesData means that values that somebody wrote may be replaced.
	OverwritesData HazardType = "overwrites_data"
	// SkipsTriggers means that the table's own triggers do not fire for the rows that are updated.
	SkipsTriggers HazardType = "skips_triggers"
	// AddsTrigger means that every write to the table runs a function from now on.
	AddsTrigger HazardType = "adds_trigger"
	// RejectsWrites means that some writes fail from now on.
	RejectsWrites HazardType = "rejects_writes"
	// HidesColumns means that statements that name a column fail from now on; nothing is lost.
	HidesColumns HazardType = "hides_columns"
	// DeletesData means that values go, and can come back from an archive at most.
	DeletesData HazardType = "deletes_data"
	// DeletesArchive means that there is no way back to values that were dropped.
	DeletesArchive HazardType = "deletes_archive"
	// SkipsGate means that a check which keeps services from failing was switched off.
	SkipsGate HazardType = "skips_gate"
)

// HazardTypes are all types, for documentation.
var HazardTypes = []HazardType{
	TakesAccessExclusiveLock, TakesShareRowExclusiveLock, RewritesTable, UpdatesRows, OverwritesData, SkipsTriggers, AddsTrigger, RejectsWrites,
	HidesColumns, DeletesData, DeletesArchive, SkipsGate,
}

// LockHazards returns what follows from the locks that the statements take on the table, in one transaction.
func LockHazards(table string, statements []Statement) (hazards []Hazard) {
	count, rewrites := make(map[Lock]int), 0
	for _, s := range statements {
		count[s.Lock]++
		if s.Effect == Rewrites {
			rewrites++
		}
	}
	held := "for milliseconds"
	if rewrites > 0 {
		held = "until the table is rewritten"
	}
	note := func(lock Lock, hazard HazardType, waits string) {
		if n := count[lock]; n > 0 {
			hazards = append(hazards, Hazard{hazard, fmt.Sprintf("%s lock on %s for %s: %s wait while it is held, %s.",
				finding.Capitalize(lock.withArticle()), table, finding.Count(n, "statement"), waits, held)})
		}
	}
	note(AccessExclusive, TakesAccessExclusiveLock, "reads and writes")
	note(ShareRowExclusive, TakesShareRowExclusiveLock, "writes")
	if rewrites > 0 {
		hazards = append(hazards, Hazard{RewritesTable, fmt.Sprintf("%s may write all rows and indexes of %s anew: reads and writes wait for the whole "+
			"rewrite. Use a maintenance window.", finding.Capitalize(finding.Count(rewrites, "statement")), table)})
	}
	return hazards
}
