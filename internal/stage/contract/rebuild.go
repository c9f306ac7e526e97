package contract

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// rebuild makes again what had gone with the columns, in ways that block no writer for longer than a moment. What is there
// already stays, so that it can go on after an interruption. What cannot be made is told and stops nothing.
func (s *Spec) rebuild(ctx context.Context, env *stage.Env, found *inspection) (missing []*finding.Finding, err error) {
	for _, b := range found.undo.Belongings {
		if b.Late || b.Kind == "exclude" {
			why := "It cannot be made without keeping writers out while the table is read."
			if b.Late {
				why = "It was made while the columns were in quarantine, with their names of that time."
			}
			missing = append(missing, s.notRebuilt(&b, why))
			continue
		}
		r := &rebuilder{spec: s, env: env, belonging: &b}
		err := r.run(ctx)
		var refused *refusal
		switch {
		case errors.As(err, &refused):
			missing = append(missing, s.notRebuilt(&b, refused.Error()))
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}

func (s *Spec) notRebuilt(b *belonging, why string) *finding.Finding {
	return finding.New(fmt.Sprintf("The %s was not made again", b.String()),
		finding.Paragraphs(why, "To make it by hand:\n\n"+finding.Indent(strings.Join(b.statements(), "\n"))))
}

// statements renders how the object is made in the plainest way, for people.
func (b *belonging) statements() []string {
	on := b.Table.SQL()
	switch b.Kind {
	case "index":
		return []string{b.createIndex(b.Table, b.Name, "") + ";"}
	case "statistics":
		return []string{b.Definition + ";"}
	}
	return []string{fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s;", on, pg.Quote(b.Name), b.Definition)}
}

func (b *belonging) createIndex(table pg.TableName, name, how string) string {
	unique := ""
	if b.Unique {
		unique = "UNIQUE "
	}
	return fmt.Sprintf("CREATE %sINDEX %s%s ON %s %s", unique, how, pg.Quote(name), table.SQL(), b.Method)
}

// describe renders the object's comment.
func (b *belonging) describe() []string {
	if b.Comment == "" {
		return nil
	}
	own := pg.TableName{Schema: b.Table.Schema, Name: b.Name}.SQL()
	target := fmt.Sprintf("CONSTRAINT %s ON %s", pg.Quote(b.Name), b.Table.SQL())
	switch b.Kind {
	case "index":
		target = "INDEX " + own
	case "statistics":
		target = "STATISTICS " + own
	}
	return []string{fmt.Sprintf("COMMENT ON %s IS %s", target, pg.Literal(b.Comment))}
}

// refusal says that the server refuses an object for what is in the table or the database.
type refusal struct{ cause error }

func (r *refusal) Error() string { return "The server says: " + r.cause.Error() + "." }
func (r *refusal) Unwrap() error { return r.cause }

// rebuilder makes one object again.
type rebuilder struct {
	*belonging
	spec *Spec
	env  *stage.Env
	// table is the relation that the object belongs to, as it is now.
	table *pg.Table
}

func (r *rebuilder) run(ctx context.Context) error {
	err := r.env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		r.table, err = pg.ReadTable(ctx, tx, r.Table)
		return err
	})
	if errors.Is(err, pg.ErrNoTable) {
		return nil // It was a partition.
	}
	if err != nil {
		return err
	}
	switch r.Kind {
	case "index":
		err = r.index(ctx)
	case "unique":
		err = r.unique(ctx)
	case "statistics":
		err = r.alter(ctx, ddl.ShareUpdateExclusive, false, r.absent("pg_statistic_ext", "stxname", "stxrelid"), append([]string{r.Definition}, r.describe()...)...)
	default:
		err = r.constraint(ctx)
	}
	return r.judge(ctx, err)
}

// judge tells what the server refuses for good from what another attempt may achieve.
func (r *rebuilder) judge(ctx context.Context, err error) error {
	var f *finding.Finding
	switch {
	case err == nil, ctx.Err() != nil, errors.As(err, &f), pg.SQLState(err) == "", pg.IsContention(err), pg.IsConnectionLost(err):
		return err
	}
	return &refusal{cause: err}
}

// absent renders the condition that there is no such object of the relation yet.
func (r *rebuilder) absent(catalog, name, relation string) string {
	return fmt.Sprintf("SELECT NOT EXISTS (SELECT FROM %s WHERE %s = $1 AND %s = $2)", catalog, name, relation)
}

// alter runs statements in one transaction under a lock on the relation, if the condition holds of the object's name and the
// relation's OID.
func (r *rebuilder) alter(ctx context.Context, lock ddl.Lock, scans bool, condition string, statements ...string) error {
	change := ddl.Change{
		Title: "Making the " + r.String() + " again", Table: r.table, Lock: lock, Scans: scans,
		Work: func(ctx context.Context, tx pgx.Tx) error {
			var wanted bool
			if err := tx.QueryRow(ctx, condition, r.Name, r.table.OID).Scan(&wanted); err != nil || !wanted {
				return err
			}
			for _, sql := range statements {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return fmt.Errorf("%s: %w", sql, err)
				}
			}
			return nil
		},
	}
	if r.References != 0 {
		change.Others = []uint32{r.References}
	}
	return r.env.Runner.Run(ctx, change)
}

const noConstraint = "SELECT NOT EXISTS (SELECT FROM pg_constraint WHERE conname = $1 AND conrelid = $2)"

// constraint adds a CHECK or FOREIGN KEY that new rows have to obey, and then has the server look at the others.
func (r *rebuilder) constraint(ctx context.Context) error {
	add := fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s", r.Table.SQL(), pg.Quote(r.Name), r.Definition)
	final := strings.HasSuffix(r.Definition, "NOT VALID") || strings.HasSuffix(r.Definition, "NOT ENFORCED")
	if !final {
		add += " NOT VALID"
	}
	lock := ddl.AccessExclusive
	if r.Kind == "foreign key" {
		lock = ddl.ShareRowExclusive
	}
	err := r.alter(ctx, lock, false, noConstraint, append([]string{add}, r.describe()...)...)
	if err != nil || final {
		return err
	}
	const notValid = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = $1 AND conrelid = $2 AND NOT convalidated)"
	return r.alter(ctx, ddl.ShareUpdateExclusive, true, notValid,
		fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", r.Table.SQL(), pg.Quote(r.Name)))
}
