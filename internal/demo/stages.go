package main

import (
	"context"
	"fmt"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// stage is one reviewed step: a release of the services, and then a pull request that adds one file.
type stage struct {
	name       string
	file       string
	generation pgtest.Generation
	services   string // what that release does
	backfills  bool
}

var stages = []stage{
	{
		name: "Expand", file: "1-expand.tf", generation: pgtest.OldStyle,
		services: "write full_name, and know of no other column",
	},
	{
		name: "Backfill", file: "2-backfill.tf", generation: pgtest.DualWrite, backfills: true,
		services: "new release deployed, which writes full_name, first_name and last_name",
	},
	{
		name: "Contract", file: "3-contract.tf", generation: pgtest.NewStyle,
		services: "new release deployed, which knows first_name and last_name alone",
	},
}

func (d *demo) stage(ctx context.Context, number int, s stage) error {
	d.out.Heading(fmt.Sprintf("Stage %d of %d: %s", number+1, len(stages), s.name))
	if err := d.services.workload.SetGeneration(ctx, s.generation); err != nil {
		return err
	}
	d.out.Fact("services", "%s", s.services)
	d.out.Fact("change", "adds examples/demo/%s", s.file)
	if err := d.addFile(s.file); err != nil {
		return err
	}
	d.services.lap() // the statistics are those of the stage

	plan, err := d.plan(ctx)
	if err != nil {
		return err
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
		done, err := readProgress(ctx, d.database.Owner)
		if err != nil {
			return err
		}
		d.out.Fact("backfill", "%s", done.result())
		if err := d.check(ctx); err != nil {
			return err
		}
	}
	return d.showTable(ctx, "users now")
}
