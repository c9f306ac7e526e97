package expand

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// maxColumns is the server's limit for column numbers, of which dropped columns keep theirs (MaxHeapAttributeNumber).
const maxColumns = 1600

// Check refuses what would do more than change metadata, unless the user has accepted it by name, and notes the columns for
// the later stages of the plan.
func (s *Spec) Check(ctx context.Context, env *stage.Env) (warnings []*finding.Finding, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		if err := env.Ledger.CheckPrivileges(ctx, tx); err != nil {
			return err
		}
		found, err := s.inspect(ctx, tx, env)
		if err != nil {
			return err
		}
		env.Planned.Add(s.Table, s.types())
		warnings = found.warnings
		if len(found.rewrites) > 0 {
			f, err := s.foretellRewrite(ctx, tx, found)
			warnings = append(warnings, f)
			return err
		}
		if s.allowsRewrite() {
			warnings = append(warnings, finding.New(fmt.Sprintf("Expand of %s does not need allow = [%q]", s.describe(s.Names()), TableRewrite),
				"Nothing that it does now rewrites the table. Take it away, so that nothing does so unnoticed later."))
		}
		f, err := ddl.Forecast(ctx, tx, found.table, ddl.AccessExclusive, "Adding columns to "+s.describe(s.Names()),
			"Sessions that run a prepared SELECT * on the table get the error \"cached plan must not change result type\" once, and must "+
				"prepare it anew.")
		warnings = append(warnings, f)
		return err
	})
	return warnings, err
}

// inspection is what was found of the table before anything is done.
type inspection struct {
	table *pg.Table
	// rewrites says of columns why adding or changing them rewrites the table, which the user has accepted.
	rewrites map[string]string
	warnings []*finding.Finding
}

// inspect refuses what the server could not do, or not without touching every row. It asks the catalogs only, and never how
// many rows there are, so that an empty table is planned as a full one.
func (s *Spec) inspect(ctx context.Context, tx pgx.Tx, env *stage.Env) (*inspection, error) {
	record, err := env.Record(ctx, tx, ledger.ColumnExpand, s.ID)
	if err != nil {
		return nil, err
	}
	table, err := env.ReadTable(ctx, tx, s.Table, record)
	if err != nil {
		return nil, err
	}
	owned, err := s.owned(table, record)
	if err != nil {
		return nil, err
	}
	if err := s.checkTable(ctx, tx, table, owned); err != nil {
		return nil, err
	}
	records, err := env.RecordsOf(ctx, tx, table)
	if err != nil {
		return nil, err
	}
	found := &inspection{table: table, rewrites: make(map[string]string)}
	var problems []error
	for _, name := range s.Names() {
		problems = append(problems, s.inspectColumn(ctx, tx, found, owned, records, name))
	}
	return found, errors.Join(problems...)
}

func (s *Spec) inspectColumn(ctx context.Context, tx pgx.Tx, found *inspection, owned owned, records []*ledger.Stage, name string) (err error) {
	existing, exists := found.table.Column(name)
	_, ours := owned[name]
	var rewrite string
	switch {
	case exists && !ours:
		return s.alreadyThere(name)
	case exists:
		rewrite, err = s.refuseChange(ctx, tx, found.table, records, existing)
	default:
		rewrite, err = s.refuseNew(ctx, tx, found.table, name)
	}
	if err != nil {
		return err
	}
	if rewrite != "" {
		found.rewrites[name] = rewrite
	}
	return s.warnOfJSON(ctx, tx, found, existing, name)
}

func (s *Spec) checkTable(ctx context.Context, tx pgx.Tx, table *pg.Table, owned owned) error {
	if table.PartitionOf != "" {
		return finding.New(fmt.Sprintf("Table %s is a partition of %s", s.Table, table.PartitionOf),
			"A partition has the columns of its parent. Add the column there.").At("table")
	}
	missing := 0
	for _, name := range s.Names() {
		if _, ok := owned[name]; !ok {
			missing++
		}
	}
	if used := int(table.MaxAttnum); used+missing > maxColumns {
		return finding.New(fmt.Sprintf("Table %s has no room for %d more columns", s.Table, missing),
			fmt.Sprintf("It has used %d of %d column numbers. Dropped columns keep theirs for ever; only a new table starts afresh.",
				used, maxColumns)).At("columns")
	}
	return pg.RequireOwner(ctx, tx, table)
}

// owned holds what is known of the columns that this expand has added, by name.
type owned map[string]added

// added is what the ledger keeps of a column that was added.
type added struct {
	Attnum int16
	// Default is the default as the server wrote it down, so that a change by somebody else can be seen.
	Default string
}

// owned returns the columns that this expand has added and that are still there: those in the ledger, and those that
// Terraform's state knows, such as imported ones.
func (s *Spec) owned(table *pg.Table, record *ledger.Stage) (owned, error) {
	all := make(owned)
	if record != nil && record.TableOID == table.OID {
		recorded, err := stage.Decode[owned](record.Undo)
		if err != nil {
			return nil, err
		}
		for name, a := range recorded {
			if c, exists := table.ColumnByNumber(a.Attnum); exists && c.Name == name {
				all[name] = a
			}
		}
	}
	for _, c := range table.Columns {
		if _, recorded := all[c.Name]; !recorded && slices.Contains(s.Known, c.Name) {
			all[c.Name] = added{Attnum: c.Attnum, Default: c.Default}
		}
	}
	return all, nil
}
