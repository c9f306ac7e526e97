package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

// dependants are the objects that have to do with the columns.
type dependants struct {
	// blocking objects need the column: the server would refuse the drop, or they would go on with stale values.
	blocking []string
	// silent objects are dropped by the server together with the column, without a word.
	silent []string
	// replicaIdentity is an index among the silent ones without which updates of a published table fail.
	replicaIdentity string
}

// readDependants asks the catalogs. The column names are those of now.
func readDependants(ctx context.Context, tx pgx.Tx, table *pg.Table, columns []string) (d dependants, err error) {
	objects, err := usage.Dependants(ctx, tx, table, columns)
	if err != nil {
		return d, err
	}
	for _, o := range objects {
		if o.Effect == usage.Blocks {
			d.blocking = append(d.blocking, o.String())
			continue
		}
		d.silent = append(d.silent, o.String())
		if o.ReplicaIdentity {
			d.replicaIdentity = o.String()
		}
	}
	d.blocking, d.silent = slices.Compact(d.blocking), slices.Compact(d.silent)
	return d, nil
}

// checkKeys refuses columns without which the table is not the same table.
func (s *Spec) checkKeys(table *pg.Table, columns []pg.Column) error {
	var problems []error
	refuse := func(c pg.Column, what, why string) {
		problems = append(problems, finding.New(fmt.Sprintf("Column %s %s", s.Table.Column(c.Name), what), why).At("columns"))
	}
	for _, c := range columns {
		switch {
		case slices.Contains(table.PrimaryKey, c.Attnum):
			refuse(c, "is part of the primary key", "Rows are told apart by it, and foreign keys and replication rest on it. Give the table another "+
				"primary key first.")
		case slices.Contains(table.PartitionKey, c.Attnum):
			refuse(c, "is part of the partition key", "The server places rows by it. Only a new table can be partitioned otherwise.")
		case c.Inherited:
			refuse(c, "is inherited", "It belongs to the parent table. Contract it there.")
		}
	}
	return errors.Join(problems...)
}

// checkDependants refuses while something needs the columns, and when a drop would take along what the user has not
// named.
func (s *Spec) checkDependants(d dependants) error {
	if len(d.blocking) > 0 {
		return finding.New(fmt.Sprintf("Other objects depend on columns of %s", s.describe()),
			fmt.Sprintf("These need %s:\n%s\n\nChange or drop them first. Nothing is dropped with CASCADE.", pg.QuoteAll(s.Columns),
				finding.List(d.blocking))).At("columns")
	}
	if s.Mode != Drop {
		return nil
	}
	if d.replicaIdentity != "" {
		return finding.New(fmt.Sprintf("Column of %s is part of the replica identity", s.describe()),
			fmt.Sprintf("Without the %s, updates and deletes of a published table fail. Choose another replica identity first:\n\n"+
				"  ALTER TABLE %s REPLICA IDENTITY DEFAULT;", d.replicaIdentity, s.Table.SQL())).At("columns")
	}
	unnamed := slices.DeleteFunc(slices.Clone(d.silent), func(name string) bool { return slices.Contains(s.Drops, name) })
	if len(unnamed) == 0 {
		return nil
	}
	quoted := make([]string, len(d.silent))
	for i, name := range d.silent {
		quoted[i] = fmt.Sprintf("  %q,", name)
	}
	return finding.New(fmt.Sprintf("Dropping columns of %s would silently drop other objects", s.describe()),
		fmt.Sprintf("The server drops these together with the column, also when they cover other columns as well:\n%s\n\nIf that is "+
			"meant, name them:\n\n  drops = [\n  %s\n  ]", finding.List(unnamed), strings.Join(quoted, "\n  "))).At("drops")
}

func (s *Spec) checkFunctions(functions []string) error {
	open := slices.DeleteFunc(slices.Clone(functions), func(name string) bool { return slices.Contains(s.IgnoreFunctions, name) })
	if len(open) == 0 {
		return nil
	}
	quoted := make([]string, len(functions))
	for i, name := range functions {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return finding.New(fmt.Sprintf("Functions mention columns of %s", s.describe()),
		fmt.Sprintf("The text of these functions has the words %s and %s. The server does not know what a function's text needs; it would "+
			"fail when it runs:\n%s\n\nChange them first, or say that they do not need the column:\n\n  ignore_functions = [%s]",
			pg.QuoteAll(s.Columns), pg.Quote(s.Table.Name), finding.List(open), strings.Join(quoted, ", "))).At("ignore_functions")
}
