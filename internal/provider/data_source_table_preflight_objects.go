package provider

// The parts of a preflight have the fields of those in package preflight, so that one can be converted to the other.

type preflightHazard struct {
	Type    string `tfsdk:"type"`
	Message string `tfsdk:"message"`
}

type preflightServer struct {
	Version  string `tfsdk:"version"`
	Number   int64  `tfsdk:"version_number"`
	WALLevel string `tfsdk:"wal_level"`
	Standby  bool   `tfsdk:"standby"`
}

type preflightRole struct {
	Name               string `tfsdk:"name"`
	SessionUser        string `tfsdk:"session_user"`
	OwnsTable          bool   `tfsdk:"owns_table"`
	MaySelect          bool   `tfsdk:"may_select"`
	MayUpdate          bool   `tfsdk:"may_update"`
	Monitors           bool   `tfsdk:"monitors"`
	MayQuietTriggers   bool   `tfsdk:"may_set_session_replication_role"`
	RowSecurityApplies bool   `tfsdk:"row_security_applies"`
}

type preflightSize struct {
	EstimatedRows   *int64   `tfsdk:"estimated_rows"`
	DeadRows        int64    `tfsdk:"dead_rows"`
	HeapBytes       int64    `tfsdk:"heap_bytes"`
	IndexBytes      int64    `tfsdk:"index_bytes"`
	ToastBytes      int64    `tfsdk:"toast_bytes"`
	Stale           bool     `tfsdk:"stale"`
	RowBytes        *float64 `tfsdk:"row_bytes"`
	RowsPerPage     *float64 `tfsdk:"rows_per_page"`
	FillFactor      int64    `tfsdk:"fillfactor"`
	FrozenAge       int64    `tfsdk:"frozen_age"`
	Autovacuum      bool     `tfsdk:"autovacuum"`
	LastVacuum      *string  `tfsdk:"last_vacuum"`
	LastAutovacuum  *string  `tfsdk:"last_autovacuum"`
	LastAnalyze     *string  `tfsdk:"last_analyze"`
	LastAutoanalyze *string  `tfsdk:"last_autoanalyze"`
}

type preflightColumn struct {
	Name         string   `tfsdk:"name"`
	Type         string   `tfsdk:"type"`
	NotNull      bool     `tfsdk:"not_null"`
	Default      *string  `tfsdk:"default"`
	Identity     string   `tfsdk:"identity"`
	Generated    string   `tfsdk:"generated"`
	AverageBytes *int64   `tfsdk:"average_bytes"`
	NullFraction *float64 `tfsdk:"null_fraction"`
	Indexed      bool     `tfsdk:"indexed"`
}

type preflightIndex struct {
	Name       string  `tfsdk:"name"`
	Definition *string `tfsdk:"definition"`
	Unique     bool    `tfsdk:"unique"`
	Primary    bool    `tfsdk:"primary"`
	Valid      bool    `tfsdk:"valid"`
	Bytes      int64   `tfsdk:"bytes"`
	Scans      int64   `tfsdk:"scans"`
}

type preflightConstraint struct {
	Name       string `tfsdk:"name"`
	Type       string `tfsdk:"type"`
	Validated  bool   `tfsdk:"validated"`
	Definition string `tfsdk:"definition"`
}

type preflightForeignKey struct {
	Name       string `tfsdk:"name"`
	Table      string `tfsdk:"table"`
	Validated  bool   `tfsdk:"validated"`
	Definition string `tfsdk:"definition"`
}

type preflightTrigger struct {
	Name       string `tfsdk:"name"`
	Function   string `tfsdk:"function"`
	Enabled    string `tfsdk:"enabled"`
	Definition string `tfsdk:"definition"`
	Managed    bool   `tfsdk:"managed"`
}

type preflightPolicy struct {
	Name       string   `tfsdk:"name"`
	Command    string   `tfsdk:"command"`
	Permissive bool     `tfsdk:"permissive"`
	Roles      []string `tfsdk:"roles"`
	Using      *string  `tfsdk:"using"`
	Check      *string  `tfsdk:"check"`
}

type preflightDependant struct {
	Type     string `tfsdk:"type"`
	Identity string `tfsdk:"identity"`
}

type preflightPublication struct {
	Name    string `tfsdk:"name"`
	Updates bool   `tfsdk:"updates"`
}

type preflightSlot struct {
	Name          string  `tfsdk:"name"`
	Type          string  `tfsdk:"type"`
	Database      *string `tfsdk:"database"`
	Active        bool    `tfsdk:"active"`
	Status        *string `tfsdk:"wal_status"`
	RetainedBytes *int64  `tfsdk:"retained_bytes"`
	HeadroomBytes *int64  `tfsdk:"headroom_bytes"`
}

type preflightStandby struct {
	Name       string   `tfsdk:"name"`
	State      *string  `tfsdk:"state"`
	SyncState  *string  `tfsdk:"sync_state"`
	LagBytes   *int64   `tfsdk:"lag_bytes"`
	LagSeconds *float64 `tfsdk:"lag_seconds"`
}

type preflightSession struct {
	PID         int64    `tfsdk:"pid"`
	User        string   `tfsdk:"user"`
	Application string   `tfsdk:"application_name"`
	State       string   `tfsdk:"state"`
	Query       string   `tfsdk:"query"`
	AgeSeconds  *float64 `tfsdk:"age_seconds"`
}

type preflightLock struct {
	PID         int64    `tfsdk:"pid"`
	User        string   `tfsdk:"user"`
	Application string   `tfsdk:"application_name"`
	State       string   `tfsdk:"state"`
	Query       string   `tfsdk:"query"`
	AgeSeconds  *float64 `tfsdk:"age_seconds"`
	Mode        string   `tfsdk:"mode"`
	Granted     bool     `tfsdk:"granted"`
	WaitSeconds *float64 `tfsdk:"wait_seconds"`
	Relation    string   `tfsdk:"relation"`
}

type preflightPrepared struct {
	GID        string `tfsdk:"gid"`
	Owner      string `tfsdk:"owner"`
	AgeSeconds int64  `tfsdk:"age_seconds"`
}

type preflightVacuum struct {
	PID        int64    `tfsdk:"pid"`
	Command    string   `tfsdk:"command"`
	Phase      *string  `tfsdk:"phase"`
	Percent    *float64 `tfsdk:"percent"`
	Auto       bool     `tfsdk:"auto"`
	Wraparound bool     `tfsdk:"wraparound"`
	Relation   string   `tfsdk:"relation"`
}

type preflightIndexBuild struct {
	PID     int64    `tfsdk:"pid"`
	Index   *string  `tfsdk:"index"`
	Phase   *string  `tfsdk:"phase"`
	Percent *float64 `tfsdk:"percent"`
}

type preflightStage struct {
	Type    string `tfsdk:"type"`
	ID      string `tfsdk:"id"`
	Status  string `tfsdk:"status"`
	Retired bool   `tfsdk:"retired"`
}
