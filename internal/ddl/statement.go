// Package ddl runs statements that take table locks on a table in heavy use. Its runner is the only way in which
// the provider takes a lock stronger than that of a batched update.
package ddl

// Statement is one statement as the reviewer of a plan sees it.
type Statement struct {
	SQL    string
	Lock   Lock
	Effect Effect
}

// Lock is a table-level lock mode, by its name in PostgreSQL's documentation (13.3.1).
type Lock string

// The modes that the provider's statements take.
const (
	AccessExclusive      Lock = "ACCESS EXCLUSIVE"
	ShareRowExclusive    Lock = "SHARE ROW EXCLUSIVE"
	ShareUpdateExclusive Lock = "SHARE UPDATE EXCLUSIVE"
	RowExclusive         Lock = "ROW EXCLUSIVE"
	AccessShare          Lock = "ACCESS SHARE"
	// NoLock is the mode of statements that do not touch the table, such as CREATE FUNCTION.
	NoLock Lock = "none"
)

// withArticle returns the mode as it stands in a sentence: an ACCESS EXCLUSIVE, a SHARE ROW EXCLUSIVE.
func (l Lock) withArticle() string {
	if l == AccessExclusive || l == AccessShare {
		return "an " + string(l)
	}
	return "a " + string(l)
}

// conflicts lists the modes, as pg_locks spells them, that a mode has to wait for (documentation, table 13.2).
func (l Lock) conflicts() []string {
	all := []string{
		"AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
		"ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
	}
	switch l {
	case AccessExclusive:
		return all
	case ShareRowExclusive:
		return all[2:]
	case ShareUpdateExclusive:
		return all[3:]
	case AccessShare:
		return all[7:]
	case NoLock:
		return nil
	case RowExclusive:
		return all[4:]
	}
	panic("ddl: no conflict table for lock " + string(l)) // A new mode needs its row of the documentation's table.
}

// Effect is what a statement does to the rows of the table.
type Effect string

// The effects of the provider's statements.
const (
	MetadataOnly  Effect = "metadata only"
	BatchedUpdate Effect = "batched update"
	BatchedCopy   Effect = "batched copy"
	// Rewrites means that every row and every index is written anew under the statement's lock.
	Rewrites Effect = "rewrites"
)
