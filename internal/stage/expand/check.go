package expand

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// maxColumns is the server's limit for column numbers, of which dropped columns keep theirs (MaxHeapAttributeNumber).
const maxColumns = 1600

// Check refuses what would do more than change metadata, and notes the columns for the later stages of the plan.
func (s *Spec) Check(ctx context.Context, env *stage.Env) (warnings []*finding.Finding, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		if err := env.Ledger.CheckPrivileges(ctx, tx); err != nil {
			return err
		}
		record, err := env.Record(ctx, tx, ledger.ColumnExpand, s.ID)
		if err != nil {
			return err
		}
		table, err := env.ReadTable(ctx, tx, s.Table, record)
		if err != nil {
			return err
		}
		owned, err := s.owned(table, record)
		if err != nil {
			return err
		}
		if err := s.checkTable(ctx, tx, table, owned); err != nil {
			return err
		}
		var problems []error
		for _, name := range s.Names() {
			problems = append(problems, s.checkColumn(ctx, tx, table, owned, name))
		}
		if err := errors.Join(problems...); err != nil {
			return err
		}
		env.Planned.Add(s.Table, s.types())
		f, err := ddl.Forecast(ctx, tx, table, ddl.AccessExclusive, "Adding columns to "+s.describe(s.Names()),
			"Sessions that run a prepared SELECT * on the table get the error \"cached plan must not change result type\" once, and must "+
				"prepare it anew.")
		warnings = append(warnings, f)
		return err
	})
	return warnings, err
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

// checkColumn refuses a column that the server could not add, or not without touching every row.
func (s *Spec) checkColumn(ctx context.Context, tx pgx.Tx, table *pg.Table, owned owned, name string) error {
	column, full := s.Columns[name], s.Table.Column(name)
	at := func(err error, attribute string) error {
		var f *finding.Finding
		if errors.As(err, &f) && len(f.Attribute) == 0 {
			f.At("columns", name, attribute)
		}
		return err
	}
	resolved, err := expression.ResolveType(ctx, tx, column.Type)
	if err != nil {
		return at(err, "type")
	}
	if err := checkType(ctx, tx, full, resolved); err != nil {
		return at(err, "type")
	}
	if column.Default != "" {
		if err := checkDefault(ctx, tx, full, column); err != nil {
			return at(err, "default")
		}
	}
	existing, exists := table.Column(name)
	_, ours := owned[name]
	switch {
	case exists && !ours:
		return at(s.alreadyThere(name), "type")
	case exists && !existing.Type.Equal(resolved):
		return at(finding.New(fmt.Sprintf("Column %s cannot change its type in place", full),
			fmt.Sprintf("It is of type %s, and changing it to %s would rewrite the table under an ACCESS EXCLUSIVE lock. Add a column of "+
				"the new type under another name, and fill it with a backfill.", existing.Type.SQL, resolved.SQL)), "type")
	case exists && column.NotNull && !existing.NotNull:
		return at(finding.New(fmt.Sprintf("Column %s cannot become NOT NULL in place", full),
			"SET NOT NULL scans the table under an ACCESS EXCLUSIVE lock."), "not_null")
	}
	return nil
}

// alreadyThere says that somebody else added the column, and how to take it over.
func (s *Spec) alreadyThere(name string) error {
	return finding.New(fmt.Sprintf("Column %s already exists", s.Table.Column(name)),
		fmt.Sprintf("It was not added by this resource. If it is the column you mean, import it:\n\n  terraform import "+
			"postgres_column_expand.NAME '%s'", pg.FormatID(s.Table, s.Names())))
}

// checkType refuses types whose values the server would have to compute or check for every row.
func checkType(ctx context.Context, tx pgx.Tx, full string, t pg.Type) error {
	var constrained bool
	err := tx.QueryRow(ctx, `
		WITH RECURSIVE under(oid, base, not_null, fallback) AS (
		  SELECT oid, typbasetype, typnotnull, typdefault FROM pg_type WHERE oid = $1 AND typtype = 'd'
		  UNION ALL
		  SELECT t.oid, t.typbasetype, t.typnotnull, t.typdefault
		    FROM under u JOIN pg_type t ON t.oid = u.base AND t.typtype = 'd'
		)
		SELECT coalesce(bool_or(u.not_null OR u.fallback IS NOT NULL OR EXISTS (
		         SELECT FROM pg_constraint c WHERE c.contypid = u.oid)), false)
		  FROM under u`, t.OID).Scan(&constrained)
	if err != nil {
		return fmt.Errorf("read type %s: %w", t.SQL, err)
	}
	if constrained {
		return finding.New(fmt.Sprintf("Column %s would be of the domain %s, which has a constraint or a default", full, t.SQL),
			"Adding such a column rewrites the table under an ACCESS EXCLUSIVE lock. Use the type under the domain.")
	}
	return nil
}

// checkDefault refuses defaults that would be computed anew for every row.
func checkDefault(ctx context.Context, tx pgx.Tx, full string, column Column) error {
	volatile, err := expression.CheckConstant(ctx, tx, "Default of column "+full, column.Default, column.Type)
	if err != nil {
		return err
	}
	if volatile {
		return finding.New(fmt.Sprintf("Default of column %s is volatile", full),
			"It gives another value for each row, so the server would rewrite the table and all its indexes under an ACCESS EXCLUSIVE "+
				"lock. Add the column without a default and fill it with a backfill:\n\n"+
				finding.Indent(fmt.Sprintf("set = { ... = %q }", column.Default)))
	}
	return nil
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
