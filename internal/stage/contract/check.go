package contract

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
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// undo is what the ledger keeps of the columns that were taken away, by their former names.
type undo map[string]taken

// taken is a column that was taken away.
type taken struct {
	Attnum  int16
	NotNull bool
}

// Check refuses what could not be applied, as far as that can be known before the stages that come first have run.
func (s *Spec) Check(ctx context.Context, env *stage.Env) (warnings []*finding.Finding, err error) {
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		if err := env.Ledger.CheckPrivileges(ctx, tx); err != nil {
			return err
		}
		found, err := s.inspect(ctx, tx, env)
		if err != nil || found.done {
			return err
		}
		functions, err := readFunctions(ctx, tx, found.table, s.Columns)
		if err != nil {
			return err
		}
		if err := s.checkFunctions(functions); err != nil {
			return err
		}
		more := []string{s.consequence(found)}
		for _, record := range found.readers {
			more = append(more, fmt.Sprintf("The backfill %s reads the column; it is %s now and is proven again before anything happens.",
				record.Key, record.Status))
		}
		f, err := ddl.Forecast(ctx, tx, found.table, ddl.AccessExclusive, fmt.Sprintf("%s of columns of %s", s.noun(), s.describe()), more...)
		warnings = append(warnings, f)
		return err
	})
	return warnings, err
}

func (s *Spec) noun() string {
	if s.Mode == Drop {
		return "Drop"
	}
	return "Quarantine"
}

func (s *Spec) consequence(found *inspection) string {
	if s.Mode == Quarantine {
		return "The columns are renamed and keep their data, indexes and constraints; destroying this resource renames them back. Sessions " +
			"that still name them get an error from then on."
	}
	text := "The values of the columns are gone for good afterwards. mode = \"quarantine\" first would keep them for a while."
	if len(found.dependants.silent) > 0 {
		text += "\n\nThese go with them:\n" + finding.List(found.dependants.silent)
	}
	return text
}

// inspection is what there is of a contract's table and columns.
type inspection struct {
	record *ledger.Stage
	table  *pg.Table
	undo   undo
	// columns are those to take away, under their present names.
	columns    []pg.Column
	dependants dependants
	// readers are the records of backfills that read the columns.
	readers []*ledger.Stage
	// done means that the contract stands already as the user wants it.
	done bool
}

// inspect reads the table and refuses what can never be applied.
func (s *Spec) inspect(ctx context.Context, tx pgx.Tx, env *stage.Env) (*inspection, error) {
	found := &inspection{undo: undo{}}
	var err error
	if found.record, err = env.Record(ctx, tx, ledger.ColumnContract, s.ID); err != nil {
		return nil, err
	}
	if found.table, err = env.ReadTable(ctx, tx, s.Table, found.record); err != nil {
		return nil, err
	}
	mode := Mode("")
	if found.record != nil && found.record.TableOID == found.table.OID {
		was, err := stage.Decode[Spec](found.record.Spec)
		if err != nil {
			return nil, err
		}
		if found.undo, err = stage.Decode[undo](found.record.Undo); err != nil {
			return nil, err
		}
		mode = was.Mode
	}
	if err := pg.RequireOwner(ctx, tx, found.table); err != nil {
		return nil, err
	}
	if err := s.findColumns(found, mode); err != nil || found.done {
		return found, err
	}
	if !s.WritersMigrated {
		return nil, s.writersNotMigrated()
	}
	if err := s.checkKeys(found.table, found.columns); err != nil {
		return nil, err
	}
	names := make([]string, len(found.columns))
	numbers := make([]int16, len(found.columns))
	for i, c := range found.columns {
		names[i], numbers[i] = c.Name, c.Attnum
	}
	if found.dependants, err = readDependants(ctx, tx, found.table, names); err != nil {
		return nil, err
	}
	if err := s.checkDependants(found.dependants); err != nil {
		return nil, err
	}
	found.readers, err = readersOf(ctx, tx, env, found.table, numbers)
	return found, err
}

// findColumns finds the columns to take away, or that they are away already.
func (s *Spec) findColumns(found *inspection, mode Mode) error {
	var problems []error
	for _, name := range s.Columns {
		was, recorded := found.undo[name]
		now, there := found.table.ColumnByNumber(was.Attnum)
		away := recorded && (!there || now.Name != name)
		switch {
		case away && mode == s.Mode:
			continue
		case away && !there:
			problems = append(problems, finding.New(fmt.Sprintf("Column %s was dropped already", s.Table.Column(name)),
				"What was dropped cannot be quarantined. Set mode = \"drop\".").At("mode"))
			continue
		case away:
			found.columns = append(found.columns, now)
			continue
		}
		column, exists := found.table.Column(name)
		if !exists {
			problems = append(problems, finding.New(fmt.Sprintf("Column %s does not exist", s.Table.Column(name)),
				"The ledger has no contract that took it away either. Remove it from columns.").At("columns"))
			continue
		}
		if _, taken := found.table.Column(quarantined(name)); taken && s.Mode == Quarantine {
			problems = append(problems, finding.New(fmt.Sprintf("Column %s already exists", s.Table.Column(quarantined(name))),
				fmt.Sprintf("Column %s would be renamed to it. Rename or drop the existing one first.", pg.Quote(name))).At("columns"))
		}
		found.columns = append(found.columns, column)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	switch len(found.columns) {
	case 0:
		found.done = true
	case len(s.Columns):
	default:
		return finding.New(fmt.Sprintf("Some columns of %s are away already", s.describe()),
			"The contract takes its columns away together, and somebody has brought some of them back. Contract those in a resource of "+
				"their own.").At("columns")
	}
	return nil
}

func (s *Spec) writersNotMigrated() error {
	return finding.New(fmt.Sprintf("Nothing says that columns of %s are no longer used", s.describe()),
		"A service that still names them gets errors as soon as they are away, and nothing keeps both shapes equal meanwhile. When every "+
			"service writes and reads only the new columns, say so:\n\n  writers_migrated = true").At("writers_migrated")
}

// readersOf returns the backfills that need the columns.
func readersOf(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, columns []int16) ([]*ledger.Stage, error) {
	records, err := env.RecordsOf(ctx, tx, table)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(records, func(r *ledger.Stage) bool {
		reads := slices.ContainsFunc(r.Reads, func(n int16) bool { return slices.Contains(columns, n) })
		return r.Kind != ledger.BatchedBackfill || r.Status == ledger.Forgotten || r.Retired() || !reads
	}), nil
}

// prove refuses unless every backfill that reads the columns is complete, and a fresh look finds no row that it would
// still have to fill.
func (s *Spec) prove(ctx context.Context, env *stage.Env, readers []*ledger.Stage) error {
	for _, record := range readers {
		if record.Status != ledger.Complete {
			return finding.New(fmt.Sprintf("Backfill %s still reads columns of %s", record.Key, s.describe()),
				fmt.Sprintf("It is %s. If the columns went now, the rows that it has not reached would lose their values.\n\nLet the "+
					"backfill complete first, and refer to it, so that Terraform keeps the order:\n\n  table = postgres_batched_backfill.NAME.table",
					record.Status))
		}
		spec, err := stage.Decode[backfill.Spec](record.Spec)
		if err != nil {
			return err
		}
		const limit = 1000
		rows, err := backfill.Remaining(ctx, env, &spec, limit)
		if err != nil {
			return err
		}
		if rows > 0 {
			count := fmt.Sprintf("%d rows", rows)
			if rows >= limit {
				count = fmt.Sprintf("At least %d rows", limit)
			}
			return finding.New(fmt.Sprintf("%s of %s would need the backfill %s again", count, s.Table, record.Key),
				"It was complete, but rows have come since that it would have to fill: some service still writes only the old columns. If "+
					"they went now, those values would be lost.\n\nFind and change that service. To fill the rows, have Terraform run the "+
					"backfill once more:\n\n  terraform apply -replace=postgres_batched_backfill.NAME")
		}
	}
	return nil
}
