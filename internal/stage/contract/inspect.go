package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// place is where the columns of a contract are.
type place int

const (
	inPlace place = iota
	inQuarantine
	dropped
)

// inspection is what there is of a contract's table and columns.
type inspection struct {
	record *ledger.Stage
	table  *pg.Table
	undo   undo
	place  place
	// columns are those to take away, under their present names.
	columns    []pg.Column
	dependants dependants
	// readers are the records of backfills that read the columns, and syncs what keeps them equal to others.
	readers []*ledger.Stage
	syncs   []*keeper
	// done means that the columns are where the user wants them.
	done bool
	// keepArchive means that an undo could not use all of the archive.
	keepArchive bool
}

// numbers returns the column numbers.
func (found *inspection) numbers() []int16 {
	numbers := make([]int16, len(found.columns))
	for i, c := range found.columns {
		numbers[i] = c.Attnum
	}
	return numbers
}

// names returns the present names of the columns.
func (found *inspection) names() []string {
	names := make([]string, len(found.columns))
	for i, c := range found.columns {
		names[i] = c.Name
	}
	return names
}

// inspect reads the table and refuses what can never be applied. Columns that wait in quarantine have passed the gates: only
// what has come to depend on them since can be in the way.
func (s *Spec) inspect(ctx context.Context, tx pgx.Tx, env *stage.Env) (*inspection, error) {
	found := &inspection{}
	var err error
	if found.record, err = env.Record(ctx, tx, ledger.ColumnContract, s.ID); err != nil {
		return nil, err
	}
	if found.table, err = env.ReadTable(ctx, tx, s.Table, found.record); err != nil {
		return nil, err
	}
	if found.record != nil && found.record.TableOID == found.table.OID {
		if found.undo, err = readUndo(found.record); err != nil || found.undo.Begun {
			return found, err
		}
	}
	if err := pg.RequireOwner(ctx, tx, found.table); err != nil {
		return nil, err
	}
	if err := s.locate(found); err != nil || found.done {
		return found, err
	}
	if err := s.checkKeys(found.table, found.columns); err != nil {
		return nil, err
	}
	if s.Mode == Drop && s.Archive {
		if err := s.checkArchivable(ctx, tx, found.table); err != nil {
			return nil, err
		}
	}
	if found.dependants, err = readDependants(ctx, tx, found.table, found.names()); err != nil {
		return nil, err
	}
	if err := found.spareSequences(ctx, tx); err != nil {
		return nil, err
	}
	if err := s.checkDependants(found.dependants); err != nil {
		return nil, err
	}
	if found.place != inPlace {
		return found, nil
	}
	if found.readers, err = readersOf(ctx, tx, env, found.table, found.numbers()); err != nil {
		return nil, err
	}
	if found.syncs, err = s.readSyncs(ctx, tx, env, found.table, found.numbers()); err != nil {
		return nil, err
	}
	if err := s.checkSyncs(ctx, tx, found.syncs); err != nil {
		return nil, err
	}
	return found, s.checkWriters(ctx, tx, env, found.numbers(), found.syncs)
}

// locate finds the columns, or that they are away already.
func (s *Spec) locate(found *inspection) error {
	var problems []error
	places := make(map[place]bool)
	for _, name := range s.Columns {
		was, recorded := found.undo.Columns[name]
		now, there := found.table.ColumnByNumber(was.Attnum)
		if _, occupied := found.table.Column(name); recorded && occupied && (!there || now.Name != name) {
			problems = append(problems, s.existsAgain(name, now.Name).At("columns"))
			continue
		}
		switch {
		case recorded && !there:
			places[dropped] = true
			if s.Mode == Quarantine {
				problems = append(problems, finding.New(fmt.Sprintf("Column %s was dropped already", s.Table.Column(name)),
					"What was dropped cannot be quarantined. Set mode = \"drop\", or destroy the contract, which brings the column back.").At("mode"))
			}
			continue
		case recorded && now.Name != name:
			places[inQuarantine] = true
			found.columns = append(found.columns, now)
			continue
		}
		places[inPlace] = true
		column, exists := found.table.Column(name)
		if !exists {
			problems = append(problems, finding.New(fmt.Sprintf("Column %s does not exist", s.Table.Column(name)),
				"The ledger has no contract that took it away either. Remove it from columns.").At("columns"))
			continue
		}
		if _, taken := found.table.Column(quarantined(name)); taken {
			problems = append(problems, finding.New(fmt.Sprintf("Column %s already exists", s.Table.Column(quarantined(name))),
				fmt.Sprintf("Column %s would be renamed to it. Rename or drop the existing one first.", pg.Quote(name))).At("columns"))
		}
		found.columns = append(found.columns, column)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	if len(places) > 1 {
		return finding.New(fmt.Sprintf("Some columns of %s are away already", s.describe()),
			"The contract takes its columns away together, and somebody has brought some of them back. Contract those in a resource of "+
				"their own.").At("columns")
	}
	for at := range places {
		found.place = at
	}
	found.done = found.place == dropped || (found.place == inQuarantine && s.Mode == Quarantine)
	if found.place == dropped && s.Archive && found.undo.Archive == nil {
		return finding.New(fmt.Sprintf("Columns of %s were dropped without an archive", s.describe()),
			"What is gone cannot be archived any more. Leave archive at false.").At("archive")
	}
	return nil
}

// spareSequences takes the sequences that belong to the columns off the list of what a drop takes along: the contract gives
// them no owner first, because the default of an undo needs them. That of an identity column cannot be spared.
func (found *inspection) spareSequences(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		SELECT 'sequence ' || o.identity
		  FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) AS o
		 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.refobjsubid = ANY($2)
		   AND d.deptype = 'a'`, found.table.OID, found.numbers())
	if err != nil {
		return fmt.Errorf("look for sequences of the columns: %w", err)
	}
	spared, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for sequences of the columns: %w", err)
	}
	found.dependants.silent = slices.DeleteFunc(found.dependants.silent, func(name string) bool { return slices.Contains(spared, name) })
	return nil
}
