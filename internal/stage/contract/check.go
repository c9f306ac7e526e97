package contract

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

// Check refuses what could not be applied, as far as that can be known before the stages that come first have run.
func (s *Spec) Check(ctx context.Context, env *stage.Env) (warnings []*finding.Finding, err error) {
	var found *inspection
	var forecast *finding.Finding
	err = env.DB.Look(ctx, func(tx pgx.Tx) error {
		if err := env.Ledger.CheckPrivileges(ctx, tx); err != nil {
			return err
		}
		var err error
		if found, err = s.inspect(ctx, tx, env); err != nil {
			return err
		}
		if found.place == dropped && !s.Archive && found.undo.Archive != nil {
			warnings = append(warnings, s.discardsArchive(found.undo.Archive))
		}
		if found.done {
			return nil
		}
		if found.undo.Begun {
			warnings = append(warnings, s.undoEndsFirst())
			return nil
		}
		if err := s.checkTexts(ctx, tx, env, found); err != nil {
			return err
		}
		var more []string
		for _, record := range found.readers {
			more = append(more, fmt.Sprintf("The backfill %s reads the column; it is %s now and is proven again before anything happens.",
				record.Key, record.Status))
		}
		for _, k := range found.syncs {
			more = append(more, k.foretell(s.Mode))
		}
		forecast, err = ddl.Forecast(ctx, tx, found.table, ddl.AccessExclusive, fmt.Sprintf("%s of columns of %s", s.noun(), s.describe()),
			append([]string{s.consequence(found)}, more...)...)
		if err != nil {
			return err
		}
		warnings = append(warnings, forecast)
		blind, err := readBlind(ctx, tx, env, found.readers)
		if len(blind) > 0 {
			warnings = append(warnings, s.oldSnapshots(blind, "An apply would wait for them"))
		}
		return err
	})
	if err != nil || found.done || found.undo.Begun {
		return warnings, err
	}
	if found.place == inPlace {
		used, err := s.checkStatements(ctx, env, usage.Look)
		if err != nil {
			return nil, err
		}
		if used != nil {
			warnings = append(warnings, used)
		}
	}
	if s.Mode != Drop || !s.Archive {
		return warnings, nil
	}
	size, err := s.foretellArchive(ctx, env, found)
	forecast.Detail = finding.Paragraphs(forecast.Detail, size)
	return warnings, err
}

func (s *Spec) undoEndsFirst() *finding.Finding {
	return finding.New(fmt.Sprintf("An undo of the contract of %s was interrupted", s.describe()),
		"It has begun to bring the columns back. The apply ends the undo first, and then contracts them again.")
}

func (s *Spec) discardsArchive(kept *archive) *finding.Finding {
	return finding.New(fmt.Sprintf("Archive of the dropped columns of %s is discarded", s.describe()),
		fmt.Sprintf("It has %s. After that, an undo of the contract gives back only what the reverse of a sync says. It runs\n\n%s",
			finding.Count(kept.Rows, "row"), finding.Indent(s.dropArchive()+";")))
}

func (s *Spec) consequence(found *inspection) string {
	if s.Mode == Quarantine {
		return "The columns are renamed and keep their data, indexes and constraints; destroying this resource renames them back. Sessions " +
			"that still name them get an error from then on."
	}
	text := "The columns are renamed first, then archived in batches beside the application, and then dropped. Destroying this resource adds them again " +
		"and refills them, with what goes with them."
	if !s.Archive {
		text = "The values of the columns are gone for good afterwards, because archive is false, except for what the reverse of a sync gives. " +
			"mode = \"quarantine\" first would keep them for a while."
	}
	if len(found.dependants.silent) > 0 {
		text += "\n\nThese go with them:\n" + finding.List(found.dependants.silent)
	}
	return text
}
