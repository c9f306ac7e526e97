package provider

import (
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/preflight"
)

// preflightModel is the data source's state. What may be unknown to the server, or not visible to the role, is a pointer.
type preflightModel struct {
	Schema *string `tfsdk:"schema"`
	Table  string  `tfsdk:"table"`

	Ready    bool              `tfsdk:"ready"`
	Blockers []string          `tfsdk:"blockers"`
	Hazards  []preflightHazard `tfsdk:"hazards"`
	Unseen   []string          `tfsdk:"unseen"`
	Summary  string            `tfsdk:"summary"`

	Server          *preflightServer `tfsdk:"server"`
	Role            *preflightRole   `tfsdk:"role"`
	Owner           *string          `tfsdk:"owner"`
	Kind            *string          `tfsdk:"kind"`
	PartitionOf     *string          `tfsdk:"partition_of"`
	Partitions      *int64           `tfsdk:"partitions"`
	Inherits        []string         `tfsdk:"inherits"`
	Children        *int64           `tfsdk:"children"`
	Unlogged        *bool            `tfsdk:"unlogged"`
	Size            *preflightSize   `tfsdk:"size"`
	ColumnSlotsLeft *int64           `tfsdk:"column_slots_left"`
	PrimaryKey      []string         `tfsdk:"primary_key"`
	ReplicaIdentity *string          `tfsdk:"replica_identity"`
	RowSecurity     *string          `tfsdk:"row_security"`

	Columns      []preflightColumn      `tfsdk:"columns"`
	Indexes      []preflightIndex       `tfsdk:"indexes"`
	Constraints  []preflightConstraint  `tfsdk:"constraints"`
	ForeignKeys  []preflightForeignKey  `tfsdk:"foreign_keys"`
	ReferencedBy []preflightForeignKey  `tfsdk:"referenced_by"`
	Triggers     []preflightTrigger     `tfsdk:"triggers"`
	Policies     []preflightPolicy      `tfsdk:"policies"`
	Dependants   []preflightDependant   `tfsdk:"dependants"`
	Publications []preflightPublication `tfsdk:"publications"`
	Slots        []preflightSlot        `tfsdk:"replication_slots"`
	Standbys     []preflightStandby     `tfsdk:"standbys"`

	Locks              []preflightLock       `tfsdk:"locks"`
	LongestTransaction *preflightSession     `tfsdk:"longest_transaction"`
	OldestSnapshot     *int64                `tfsdk:"oldest_snapshot"`
	Prepared           []preflightPrepared   `tfsdk:"prepared_transactions"`
	Vacuums            []preflightVacuum     `tfsdk:"vacuums"`
	IndexBuilds        []preflightIndexBuild `tfsdk:"index_builds"`
	Stages             []preflightStage      `tfsdk:"stages"`
}

// show writes all lists into the model, and what follows from the report.
func (m *preflightModel) show(r *preflight.Report) {
	m.Blockers, m.Unseen = notNil(r.Blockers), notNil(r.Unseen)
	m.Hazards = converted(r.Hazards, func(h preflight.Hazard) preflightHazard { return preflightHazard{string(h.Type), h.Message} })
	m.Inherits, m.PrimaryKey = notNil(r.Inherits), notNil(r.PrimaryKey)
	m.Columns = converted(r.Columns, func(c preflight.Column) preflightColumn { return preflightColumn(c) })
	m.Indexes = converted(r.Indexes, func(i preflight.Index) preflightIndex { return preflightIndex(i) })
	m.Constraints = converted(r.Constraints, func(c preflight.Constraint) preflightConstraint { return preflightConstraint(c) })
	foreignKey := func(k preflight.ForeignKey) preflightForeignKey { return preflightForeignKey(k) }
	m.ForeignKeys, m.ReferencedBy = converted(r.ForeignKeys, foreignKey), converted(r.ReferencedBy, foreignKey)
	m.Triggers = converted(r.Triggers, func(t preflight.Trigger) preflightTrigger { return preflightTrigger(t) })
	m.Policies = converted(r.Policies, func(p preflight.Policy) preflightPolicy { return preflightPolicy(p) })
	m.Dependants = converted(r.Dependants, func(d preflight.Dependant) preflightDependant { return preflightDependant(d) })
	m.Publications = converted(r.Publications, func(p preflight.Publication) preflightPublication { return preflightPublication(p) })
	m.Slots = converted(r.Slots, func(s preflight.Slot) preflightSlot { return preflightSlot(s) })
	m.Standbys = converted(r.Standbys, func(s preflight.Standby) preflightStandby { return preflightStandby(s) })
	m.Locks = converted(r.Locks, showLock)
	m.Prepared = converted(r.Prepared, func(p preflight.Prepared) preflightPrepared { return preflightPrepared(p) })
	m.Vacuums = converted(r.Vacuums, func(v preflight.Vacuum) preflightVacuum { return preflightVacuum(v) })
	m.IndexBuilds = converted(r.IndexBuilds, func(b preflight.IndexBuild) preflightIndexBuild { return preflightIndexBuild(b) })
	m.Stages = converted(r.Stages, func(s preflight.Stage) preflightStage { return preflightStage(s) })
}

// showFacts writes what is null when there was no database to ask.
func (m *preflightModel) showFacts(r *preflight.Report) {
	m.Ready, m.Summary = r.Ready(), r.Summary()
	m.Server = &preflightServer{r.Server.Version, int64(r.Server.Number), r.Server.WALLevel, r.Server.Standby}
	role := preflightRole(r.Role)
	m.Role = &role
	m.Owner, m.Kind, m.PartitionOf, m.Partitions, m.Children, m.Unlogged = &r.Owner, &r.Kind, r.PartitionOf, &r.Partitions, &r.Children, &r.Unlogged
	m.ColumnSlotsLeft, m.ReplicaIdentity = &r.ColumnSlotsLeft, &r.ReplicaIdentity
	security := "off"
	switch {
	case r.RowSecurity && r.RowSecurityIsForced:
		security = "forced"
	case r.RowSecurity:
		security = "on"
	}
	m.RowSecurity = &security
	s := r.Size
	m.Size = &preflightSize{
		EstimatedRows: s.EstimatedRows, DeadRows: s.DeadRows, HeapBytes: s.HeapBytes, IndexBytes: s.IndexBytes, ToastBytes: s.ToastBytes, Stale: s.Stale,
		RowBytes: s.RowBytes, RowsPerPage: s.RowsPerPage, FillFactor: s.FillFactor, FrozenAge: s.FrozenAge, Autovacuum: s.Autovacuum,
		LastVacuum: rfc3339(s.LastVacuum), LastAutovacuum: rfc3339(s.LastAutovacuum), LastAnalyze: rfc3339(s.LastAnalyze), LastAutoanalyze: rfc3339(s.LastAutoanalyze),
	}
	m.OldestSnapshot = &r.OldestSnapshot
	if r.LongestTransaction != nil {
		session := showSession(*r.LongestTransaction)
		m.LongestTransaction = &session
	}
}

// converted returns a list that is never null.
func converted[From, To any](from []From, show func(From) To) []To {
	shown := make([]To, len(from))
	for i, one := range from {
		shown[i] = show(one)
	}
	return shown
}

func showSession(s pg.Session) preflightSession {
	return preflightSession{PID: int64(s.PID), User: s.User, Application: s.Application, State: s.State, Query: s.Query, AgeSeconds: shownSeconds(s.Age)}
}

func showLock(l preflight.Lock) preflightLock {
	return preflightLock{
		PID: int64(l.PID), User: l.User, Application: l.Application, State: l.State, Query: l.Query, AgeSeconds: shownSeconds(l.Age),
		Mode: l.Mode, Granted: l.Granted, WaitSeconds: shownSeconds(l.Waited), Relation: l.Relation,
	}
}

// shownSeconds returns nil for a duration that is not known.
func shownSeconds(s pg.Seconds) *float64 {
	if s < 0 {
		return nil
	}
	seconds := s.Duration().Round(time.Millisecond).Seconds()
	return &seconds
}

func rfc3339(t *time.Time) *string { return showTime(t).ValueStringPointer() }
