package preflight

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Hazard is something that would hurt a change of the table, by a type that conditions can rely on.
type Hazard struct {
	Type    HazardType
	Message string
}

// HazardType is the stable name of a kind of hazard.
type HazardType string

// The kinds of hazards.
const (
	BlockedNow            HazardType = "blocked_now"
	ReadOnlyServer        HazardType = "read_only_server"
	NotOwner              HazardType = "not_owner"
	NoUpdatePrivilege     HazardType = "no_update_privilege"
	LongTransaction       HazardType = "long_transaction"
	PreparedTransaction   HazardType = "prepared_transaction"
	WraparoundVacuum      HazardType = "wraparound_vacuum"
	VacuumRunning         HazardType = "vacuum_running"
	IndexBuildRunning     HazardType = "index_build_running"
	StageRunning          HazardType = "stage_running"
	NoPrimaryKey          HazardType = "no_primary_key"
	InvalidIndex          HazardType = "invalid_index"
	UnvalidatedConstraint HazardType = "unvalidated_constraint"
	FewColumnSlots        HazardType = "few_column_slots"
	RowSecurityForced     HazardType = "row_security_forced"
	RowSecurityApplies    HazardType = "row_security_applies"
	UserTriggers          HazardType = "user_triggers"
	LogicalReplication    HazardType = "logical_replication"
	NoReplicaIdentity     HazardType = "no_replica_identity"
	StandbyBehind         HazardType = "standby_behind"
	SlotRetainsWAL        HazardType = "slot_retains_wal"
	LargeTable            HazardType = "large_table"
	NoStatistics          HazardType = "no_statistics"
	AutovacuumOff         HazardType = "autovacuum_off"
	ManyDeadRows          HazardType = "many_dead_rows"
	TooFullForHOT         HazardType = "table_too_full_for_hot"
)

// HazardTypes are all types, for documentation.
var HazardTypes = []HazardType{
	BlockedNow, ReadOnlyServer, NotOwner, NoUpdatePrivilege, LongTransaction, PreparedTransaction, WraparoundVacuum, VacuumRunning,
	IndexBuildRunning, StageRunning, NoPrimaryKey, InvalidIndex, UnvalidatedConstraint, FewColumnSlots, RowSecurityForced,
	RowSecurityApplies, UserTriggers, LogicalReplication, NoReplicaIdentity, StandbyBehind, SlotRetainsWAL, LargeTable, NoStatistics,
	AutovacuumOff, ManyDeadRows, TooFullForHOT,
}

// Limits are the figures from which something is a hazard.
type Limits struct {
	// HeldFor is how long a transaction with a lock must have been open, or have waited for one, to count as in the way. Shorter
	// ones are what an attempt with a short lock_timeout waits out.
	HeldFor time.Duration
	// LongTransaction is from when on a transaction holds vacuum back, and CREATE INDEX CONCURRENTLY up.
	LongTransaction time.Duration
	LargeRows       int64
	LargeBytes      int64
	ColumnSlots     int64
	DeadRows        int64
	RetainedBytes   int64
	StandbyLag      time.Duration
	StandbyLagBytes int64
	// FullPages is how many pages a table must have for the room in them to matter.
	FullPages int64
}

// DefaultLimits are the limits of the data source.
var DefaultLimits = Limits{
	HeldFor: time.Second, LongTransaction: 5 * time.Minute, LargeRows: 10_000_000, LargeBytes: 10 << 30, ColumnSlots: 100, DeadRows: 1_000_000,
	RetainedBytes: 10 << 30, StandbyLag: 10 * time.Second, StandbyLagBytes: 16 << 20, FullPages: 1000,
}

// judge draws the conclusions.
func (r *Report) judge(limits Limits) {
	r.Blockers = r.blockers(limits)
	r.judgeActivity(limits)
	r.judgeRole()
	r.judgeObjects(limits)
	r.judgeReplication(limits)
	r.judgeStorage(limits)
}

func (r *Report) note(hazard HazardType, format string, args ...any) {
	r.Hazards = append(r.Hazards, Hazard{hazard, fmt.Sprintf(format, args...)})
}

// blockers are the sessions that a statement which needs ACCESS EXCLUSIVE would wait for.
func (r *Report) blockers(limits Limits) (lines []string) {
	for _, l := range r.Locks {
		switch {
		case !l.Granted && l.Waited.Duration() < limits.HeldFor:
		case l.Granted && l.PID != 0 && !l.stays && l.Age.Duration() < limits.HeldFor:
		case l.Granted && l.yields(r.Vacuums):
		default:
			lines = append(lines, l.line())
		}
	}
	return lines
}

func (r *Report) judgeActivity(limits Limits) {
	if n := len(r.Blockers); n > 0 {
		r.note(BlockedNow, "A statement that needs ACCESS EXCLUSIVE on the table would wait now, and everybody behind it: %s.", some(r.Blockers))
	}
	if r.Server.Standby {
		r.note(ReadOnlyServer, "The server is a standby. Nothing can be changed here; connect to its primary.")
	}
	if s := r.LongestTransaction; s != nil && s.Age.Duration() >= limits.LongTransaction {
		r.note(LongTransaction, "A transaction has been open for %s: vacuum cannot remove rows that died since, and CREATE INDEX CONCURRENTLY waits "+
			"for its end. It is %s.", s.Age.Duration().Round(time.Second), s)
	}
	for _, p := range r.Prepared {
		r.note(PreparedTransaction, "The prepared transaction %q of %s keeps its locks, and holds vacuum back, until somebody ends it.", p.GID, p.Owner)
	}
	for _, v := range r.Vacuums {
		if v.Wraparound {
			r.note(WraparoundVacuum, "Autovacuum works on %s to prevent wraparound (pid %d). It gives way to nobody; ALTER TABLE waits for its end.", v.Relation, v.PID)
		} else {
			by := "Somebody"
			if v.Auto {
				by = "Autovacuum"
			}
			r.note(VacuumRunning, "%s runs %s on %s (pid %d). ALTER TABLE waits for it; autovacuum gives way after deadlock_timeout, a manual one does not.",
				by, strings.ToUpper(v.Command), v.Relation, v.PID)
		}
	}
	for _, b := range r.IndexBuilds {
		r.note(IndexBuildRunning, "An index of the table is being built (pid %d). ALTER TABLE waits for its end.", b.PID)
	}
	for _, s := range r.Stages {
		if s.Status == "running" && !s.Retired {
			r.note(StageRunning, "The stage %s %s is not complete.", s.Type, s.ID)
		}
	}
}

func (r *Report) judgeRole() {
	if !r.Role.OwnsTable {
		r.note(NotOwner, "Role %s does not own the table, which ALTER TABLE asks for. The owner is %s.", r.Role.Name, r.Owner)
	}
	if !r.Role.MayUpdate {
		r.note(NoUpdatePrivilege, "Role %s may not update the whole table, as a backfill does.", r.Role.Name)
	}
	if r.RowSecurity && r.RowSecurityIsForced {
		r.note(RowSecurityForced, "Row security is forced, so that policies apply to the owner too.")
	}
	if r.Role.RowSecurityApplies {
		r.note(RowSecurityApplies, "Policies may hide rows from role %s. A backfill refuses to run as it, because it could not know that every row is done.", r.Role.Name)
	}
}

// some joins the first few lines.
func some(lines []string) string {
	const most = 3
	if len(lines) > most {
		return strings.Join(lines[:most], "; ") + fmt.Sprintf("; and %d more", len(lines)-most)
	}
	return strings.Join(lines, "; ")
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) } //nolint:gosec // not negative
