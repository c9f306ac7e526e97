package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// CheckRevert says what the undo does to the table.
func (s *Spec) CheckRevert(ctx context.Context, env *stage.Env) (*finding.Finding, error) {
	found, err := s.away(ctx, env)
	if err != nil {
		return nil, err
	}
	title := fmt.Sprintf("Destroying the contract brings columns of %s back", s.describe())
	forget := "To leave the table as it is and only forget the resource, use a removed block with destroy = false."
	if found == nil {
		return finding.New(fmt.Sprintf("Destroying the contract of %s only forgets it", s.describe()),
			"The ledger has no record of it for this table, so that there is nothing to bring back."), nil
	}
	if found.undo.Begun {
		return finding.New(title, finding.Paragraphs("An earlier undo was interrupted; this one goes on with it.", forget)), nil
	}
	var renames, adds, losses []string
	mirrored := true
	for _, name := range stage.SortedKeys(found.undo.Columns) {
		was := found.undo.Columns[name]
		mirrored = mirrored && was.Reverse != ""
		if now, there := found.table.ColumnByNumber(was.Attnum); there {
			renames = append(renames, s.renameBack(now.Name, name)+";")
			continue
		}
		adds = append(adds, s.addColumn(name, was)+";")
		if s.restored(name, &found.undo) == "" {
			losses = append(losses, fmt.Sprintf("The values of %s cannot come back: there is neither an archive nor a reverse.", pg.Quote(name)))
		}
	}
	if len(adds) == 0 {
		meanwhile := "Rows that were written meanwhile have NULL in them, unless there is a default; a backfill in the other direction can fill them."
		if mirrored {
			meanwhile = "Rows that were written meanwhile have what the reverse of the sync gives, and the sync works again."
		}
		return finding.New(title, finding.Paragraphs("It renames them back, with all values, under an ACCESS EXCLUSIVE lock for a moment:",
			finding.Indent(strings.Join(renames, "\n")), meanwhile, forget)), nil
	}
	cost := ""
	if slices.ContainsFunc(stage.SortedKeys(found.undo.Columns), func(name string) bool { return s.restored(name, &found.undo) != "" }) {
		err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
			cost, err = backfill.Refill(ctx, tx, env, found.table, stage.SortedKeys(found.undo.Columns))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var objects []string
	for _, b := range found.undo.Belongings {
		if b.Late || b.Kind == "exclude" {
			losses = append(losses, fmt.Sprintf("The %s is not made again; its definition is shown then.", b.String()))
			continue
		}
		objects = append(objects, b.String())
	}
	rebuilt := ""
	if len(objects) > 0 {
		rebuilt = "It makes these again, without blocking writers while it reads the table:\n" + finding.List(objects)
	}
	return finding.New(title, finding.Paragraphs("It adds them again, as the last columns of the table, under an ACCESS EXCLUSIVE lock for a moment:",
		finding.Indent(strings.Join(adds, "\n")), s.foretellRefill(found, cost), rebuilt, strings.Join(losses, "\n\n"), forget)), nil
}

// foretellRefill says how the rows get their values.
func (s *Spec) foretellRefill(found *inspection, cost string) string {
	rows := "all rows"
	if found.table.EstimatedRows >= 0 {
		rows = "up to " + ddl.Rows(found.table.EstimatedRows)
	}
	text := fmt.Sprintf("Then it refills %s in batches, beside the application", rows)
	if cost != "" {
		text += ", in " + cost
	}
	reversible := false
	for _, was := range found.undo.Columns {
		reversible = reversible || was.Reverse != ""
	}
	switch a := found.undo.Archive; {
	case a != nil && reversible:
		return text + fmt.Sprintf(": %s from the archive, unless their new columns were changed since, and the others by what the reverse of the sync gives.",
			finding.Count(a.Rows, "row"))
	case a != nil:
		return text + fmt.Sprintf(": %s from the archive. Rows that have come since stay NULL.", finding.Count(a.Rows, "row"))
	case reversible:
		return text + ", by what the reverse of the sync gives."
	}
	return ""
}
