package usage

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

// target is the table and the columns that the question is about.
type target struct {
	table   *pg.Table
	columns []column
	records []*ledger.Stage
	// away and planned are the columns that are not there any more, or not yet.
	away, planned []string
	// relations are those through which the columns can be reached, by OID.
	relations map[uint32]*relation
}

// column is one of the columns that the question is about.
type column struct {
	name string
	// present is its name now, which differs in a quarantine; empty when it does not exist.
	present string
	// number is 0 when nobody knows it.
	number int16
}

// relation is the table, a partition or parent of it, or a view on it.
type relation struct {
	name string
	view bool
	// columns maps the relation's column numbers to the names that the question uses.
	columns map[int16]string
}

// readTarget finds the columns. One that never was is an error, because a typing error must not look like a column that
// nobody uses.
func readTarget(ctx context.Context, tx pgx.Tx, env *stage.Env, name pg.TableName, names []string) (*target, error) {
	t := &target{}
	var err error
	if t.table, err = pg.ReadTable(ctx, tx, name); err != nil {
		return nil, err
	}
	if t.records, err = env.RecordsOf(ctx, tx, t.table); err != nil {
		return nil, err
	}
	var problems []error
	planned := env.Planned.Columns(name)
	for _, name := range names {
		c := column{name: name}
		if is, exists := t.table.Column(name); exists {
			c.present, c.number = name, is.Attnum
		} else if number, contracted := t.contracted(name); contracted {
			t.away = append(t.away, name)
			c.number = number
			if is, exists := t.table.ColumnByNumber(number); exists {
				c.present = is.Name
			}
		} else if _, coming := planned[name]; coming {
			t.planned = append(t.planned, name)
		} else {
			problems = append(problems, finding.New(fmt.Sprintf("Column %s does not exist", t.table.Name.Column(name)),
				"The ledger has no contract that took it away either. Names are compared exactly, upper and lower case included.").At("columns"))
		}
		t.columns = append(t.columns, c)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return t, t.readRelations(ctx, tx)
}

// contracted returns the number of a column that a contract has taken away. The identity of a contract lists its columns in
// the order in which the record lists their numbers.
func (t *target) contracted(name string) (number int16, contracted bool) {
	for _, record := range t.records {
		if record.Kind != ledger.ColumnContract {
			continue
		}
		_, names, err := pg.ParseID(record.Key)
		if i := slices.Index(names, name); err == nil && i >= 0 && len(names) == len(record.Writes) {
			return record.Writes[i], true
		}
	}
	return 0, false
}

func (t *target) presentNames() (names []string) {
	for _, c := range t.columns {
		if c.present != "" {
			names = append(names, c.present)
		}
	}
	return names
}

func (t *target) numbers() (numbers []int16) {
	for _, c := range t.columns {
		if c.number != 0 {
			numbers = append(numbers, c.number)
		}
	}
	return numbers
}

// readRelations reads the table with its descendants and its ancestors: a statement may name any of them. Their columns are
// found by name, because numbers may differ.
func (t *target) readRelations(ctx context.Context, tx pgx.Tx) error {
	asked := make(map[string]string)
	for _, c := range t.columns {
		asked[c.present] = c.name
	}
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE above(oid) AS (
		  SELECT $1::oid
		  UNION
		  SELECT i.inhparent FROM above JOIN pg_inherits i ON i.inhrelid = above.oid
		)
		SELECT c.oid, c.relname, coalesce(a.attnum, 0), coalesce(a.attname, '')
		  FROM pg_class c
		  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = ANY($3) AND a.attnum > 0 AND NOT a.attisdropped
		 WHERE c.oid = ANY($2) OR c.oid IN (SELECT oid FROM above)`, t.table.OID, t.table.Tree, t.presentNames())
	if err != nil {
		return fmt.Errorf("read the relatives of %s: %w", t.table.Name, err)
	}
	t.relations = make(map[uint32]*relation)
	var oid uint32
	var name, attribute string
	var number int16
	_, err = pgx.ForEachRow(rows, []any{&oid, &name, &number, &attribute}, func() error {
		if t.relations[oid] == nil {
			t.relations[oid] = &relation{name: name, columns: make(map[int16]string)}
		}
		if number > 0 {
			t.relations[oid].columns[number] = asked[attribute]
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the relatives of %s: %w", t.table.Name, err)
	}
	return t.readViews(ctx, tx)
}
