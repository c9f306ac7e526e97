package main

import (
	"context"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// check compares every row with what the services say they wrote, while they go on writing.
func (d *demo) check(ctx context.Context) error {
	// One snapshot for both statements, so that the number is that of the rows that were compared.
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	var rows int64
	var wrong []string
	err := pgx.BeginTxFunc(ctx, d.database.Owner, options, func(tx pgx.Tx) (err error) {
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM users").Scan(&rows); err != nil {
			return err
		}
		wrong, err = pgtest.CheckUsers(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	d.out.Fact("rows", "%s rows checked, %d wrong", humanize.Comma(rows), len(wrong))
	for _, sentence := range wrong {
		d.out.Fact("", "%s", sentence)
	}
	if len(wrong) > 0 {
		d.wrong = append(d.wrong, "rows are not what the services wrote")
	}
	return nil
}

// judge says how the whole change went.
func (d *demo) judge(ctx context.Context) error {
	d.out.Heading("The result")
	if err := d.check(ctx); err != nil {
		return err
	}
	if err := d.expectNoChanges(ctx); err != nil {
		return err
	}
	d.services.lap()
	failed := d.services.failed.Load()
	d.out.Fact("services", "%s transactions in all, %s, longest stall %s",
		humanize.Comma(d.services.transactions), plural(failed, "error"), brief(d.services.longest))
	if failed > 0 {
		d.wrong = append(d.wrong, "services had "+plural(failed, "error"))
	}
	if len(d.wrong) > 0 {
		return d.wrong
	}
	return nil
}

// expectNoChanges plans once more: the configuration and the table have to agree.
func (d *demo) expectNoChanges(ctx context.Context) error {
	result, err := d.terraform(ctx, nil, "plan", "-input=false", "-no-color", "-detailed-exitcode")
	if err != nil {
		return err
	}
	// 0 is no changes, 2 is changes, 1 is an error.
	if result.ExitCode == 0 {
		d.out.Fact("plan", "%s", "No changes: the configuration and the table agree")
		return nil
	}
	d.out.Text(planText(result.Stdout))
	if result.ExitCode != 2 {
		return d.expectSuccess(result)
	}
	d.wrong = append(d.wrong, "the plan after the last stage is not empty")
	return nil
}
