package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// stage is one reviewed step: perhaps some services that are released anew, and then a pull request.
type stage struct {
	name string
	// file is added by the pull request. undoes names files that it takes out again.
	file      string
	undoes    []string
	releases  []release
	backfills bool
	// late is the service that the plan must name as the last one. It changes nothing.
	late string
	// refused is the service because of which the plan must fail.
	refused string
}

// release is what services are replaced by.
type release struct {
	generation pgtest.Generation
	services   []string
	does       string
}

const (
	writesBoth = "write full_name, first_name and last_name"
	writesNew  = "write first_name and last_name, and know of no full_name"
)

var stages = []stage{
	{name: "Expand", file: "1-expand.tf"},
	{name: "Sync", file: "2-sync.tf"},
	{
		name: "Backfill", file: "3-backfill.tf", backfills: true,
		releases: []release{
			{pgtest.DualWrite, []string{"crm", "mailing"}, writesBoth},
			{pgtest.NewStyle, []string{"orders", "search", "support"}, writesNew},
		},
	},
	{
		name: "Who has not moved?", file: "4-usage.tf", late: "billing",
		releases: []release{{pgtest.NewStyle, []string{"accounts", "crm", "mailing", "reports"}, writesNew}},
	},
	{name: "Contract, too early", file: "5-contract.tf", refused: "billing"},
	{
		name: "Contract", file: "6-billing-has-moved.auto.tfvars",
		releases: []release{{pgtest.NewStyle, []string{"billing"}, "writes first_name and last_name, as all do now"}},
	},
	{name: "Undo", undoes: []string{"5-contract.tf", "6-billing-has-moved.auto.tfvars"}, backfills: true},
}

func (d *demo) stage(ctx context.Context, number int, s stage) error {
	d.out.Heading(fmt.Sprintf("Step %d of %d: %s", number+1, len(stages), s.name))
	for _, r := range s.releases {
		if err := d.services.release(ctx, r.generation, r.services...); err != nil {
			return err
		}
		d.out.Fact("released", "%s: %s", strings.Join(r.services, ", "), r.does)
	}
	if err := d.change(s); err != nil {
		return err
	}
	d.services.lap() // the statistics are those of the step

	plan, err := d.plan(ctx)
	switch {
	case s.refused != "":
		return d.expectRefusal(err, s.refused)
	case err != nil:
		return err
	case s.late != "":
		return d.expectLate(plan, s.late)
	}
	if err := d.apply(ctx, plan, s.backfills); err != nil {
		return err
	}
	stats := d.services.lap()
	d.out.Fact("services", "%s", describe(stats))
	for _, err := range stats.FirstErrors {
		d.out.Fact("", "%v", err)
	}
	if s.backfills {
		if done, err := readProgress(ctx, d.database.Owner); err != nil {
			return err
		} else if done.Status != "" && len(s.undoes) == 0 {
			d.out.Fact("backfill", "%s", done.result())
		}
		if err := d.check(ctx); err != nil {
			return err
		}
	}
	return d.showTable(ctx, "users now")
}

// change makes the pull request's change to the configuration.
func (d *demo) change(s stage) error {
	if s.file != "" {
		d.out.Fact("change", "adds examples/demo/%s", s.file)
		return d.addFile(s.file)
	}
	d.out.Fact("change", "removes %s", strings.Join(s.undoes, " and "))
	for _, file := range s.undoes {
		if err := d.workspace.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// expectLate wants the plan to name the one service that has not moved.
func (d *demo) expectLate(plan, culprit string) error {
	if !strings.Contains(plan, "Still writing full_name: "+culprit) {
		d.wrong = append(d.wrong, "the plan does not say that "+culprit+" has not moved")
	}
	d.out.Fact("late", "%s is the last service that writes full_name", culprit)
	return nil
}

// refusedError is a plan that Terraform ended with an error.
type refusedError struct {
	command string
	status  int
	text    string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("%s exited with status %d", e.command, e.status)
}

// expectRefusal wants the plan to have failed, and to have named the one service that is in the way.
func (d *demo) expectRefusal(err error, culprit string) error {
	var refused *refusedError
	if !errors.As(err, &refused) {
		return errors.Join(errors.New("the plan should have been refused"), err)
	}
	for _, name := range serviceNames {
		if strings.Contains(refused.text, strconv.Quote(name)) != (name == culprit) {
			d.wrong = append(d.wrong, "the refusal is wrong about "+name)
		}
	}
	d.out.Fact("refused", "%s still writes full_name, so that nothing was planned", culprit)
	return nil
}
