package dualwrite

import (
	"fmt"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// createFunction renders the trigger's function. It runs with the rights of its owner, so that writers need none but their
// own, and with a search path of its own, so that theirs cannot put other functions in the place of those that the
// expressions mean.
func (s *Spec) createFunction(body string) string {
	return fmt.Sprintf("CREATE OR REPLACE FUNCTION %s() RETURNS trigger\n  LANGUAGE plpgsql SECURITY DEFINER SET search_path = %s\nAS %s",
		s.function().SQL(), expression.SafeSearchPath, dollarQuote(body))
}

// body renders what happens to one row: first which sides the writer gave, then what follows from it. An INSERT gives a side
// of which a column is not NULL, an UPDATE one of which a column has other bytes than before. A row whose new columns
// are all NULL is filled on any occasion, because no backfill has reached it.
func (s *Spec) body() string {
	b := &block{}
	b.line("#variable_conflict use_column")
	b.line("DECLARE")
	b.line("  gave_old boolean;")
	b.line("  gave_new boolean;")
	b.line("BEGIN")
	b.in(func() {
		b.line("IF TG_OP = 'INSERT' THEN")
		b.in(func() {
			b.line("gave_new := %s;", given(s.New()))
			if len(s.Reverse) > 0 {
				b.line("gave_old := %s;", given(s.Old()))
			} else {
				b.line("gave_old := NOT gave_new;")
			}
		})
		b.line("ELSE")
		b.in(func() {
			b.line("gave_new := %s;", changed(s.New()))
			b.line("gave_old := %s;", s.oldChanged())
		})
		b.line("END IF;")
		b.line("IF gave_new THEN")
		b.in(func() { s.onNew(b) })
		b.line("ELSIF gave_old OR NOT %s THEN", given(s.New()))
		b.in(func() { s.assign(b, s.Forward) })
		b.line("END IF;")
		s.note(b)
		b.line("RETURN NEW;")
	})
	b.line("END")
	return b.String()
}

func (s *Spec) onNew(b *block) {
	switch {
	case len(s.Reverse) == 0:
		b.line("IF gave_old THEN")
		b.in(func() { s.onBoth(b) })
		b.line("END IF;")
	case s.Conflict == KeepBoth:
		b.line("IF NOT gave_old THEN")
		b.in(func() { s.assign(b, s.Reverse) })
		b.line("END IF;")
	default:
		b.line("IF NOT gave_old THEN")
		b.in(func() { s.assign(b, s.Reverse) })
		b.line("ELSIF TG_OP = 'UPDATE' THEN")
		b.in(func() { s.onBoth(b) })
		b.line("END IF;")
	}
}

// oldChanged is the test whether an update changes the old side. Without reverse nobody has said which columns that is: what
// counts then is whether the expressions have another outcome.
func (s *Spec) oldChanged() string {
	if len(s.Reverse) > 0 {
		return changed(s.Old())
	}
	return fmt.Sprintf("%s\n        OPERATOR(pg_catalog.*<>) %s", s.outcome("NEW"), s.outcome("OLD"))
}

// onBoth renders what happens to a row of which an update has changed both sides.
func (s *Spec) onBoth(b *block) {
	switch s.Conflict {
	case KeepBoth:
		b.line("NULL; -- The writer knows both sides.")
	case OldWins:
		s.assign(b, s.Forward)
	case NewWins:
		s.assign(b, s.Reverse)
	default:
		s.reject(b)
	}
}

// reject fails unless one side is what the expressions make of the other one.
func (s *Spec) reject(b *block) {
	b.line("DECLARE")
	b.line("  written record := NEW;")
	b.line("BEGIN")
	b.in(func() {
		s.assign(b, s.Forward)
		disagree := differ("NEW", "written", s.New())
		if len(s.Reverse) > 0 {
			b.line("IF %s THEN", disagree)
			b.in(func() {
				b.line("NEW := written;")
				s.assign(b, s.Reverse)
			})
			b.line("END IF;")
			disagree = differ("NEW", "written", append(s.New(), s.Old()...))
		}
		b.line("IF %s THEN", disagree)
		b.in(func() {
			b.line("RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',")
			b.line("  MESSAGE = %s,", pg.Literal(fmt.Sprintf("both sides of the sync of %s were changed, and they disagree", s.describe())))
			b.line("  HINT = 'Write one side only: the trigger fills the other one.';")
		})
		b.line("END IF;")
	})
	b.line("END;")
}

// note tells the ledger who writes one side only, the first time in a transaction.
func (s *Spec) note(b *block) {
	setting := pg.Literal("terraform_postgres.noted" + s.hash())
	b.line("IF gave_old <> gave_new AND current_setting(%s, true) IS DISTINCT FROM gave_old::text THEN", setting)
	b.in(func() {
		b.line("PERFORM %s(%s, gave_old, %s);", pg.TableName{Schema: s.Schema, Name: "note_writer"}.SQL(), pg.Literal(s.ID), setting)
	})
	b.line("END IF;")
}

// mirrorBody renders the function that stays while the old columns are in quarantine, under the names given: nobody else
// writes them there, and it keeps them as the old services would want to find them.
func (s *Spec) mirrorBody(names map[string]string) string {
	targets := make([]string, len(s.Reverse))
	for i, column := range s.Old() {
		targets[i] = names[column]
	}
	mirror := func(b *block) { s.selectInto(b, s.Reverse, targets) }
	b := &block{}
	b.line("#variable_conflict use_column")
	b.line("BEGIN")
	b.in(func() {
		b.line("IF TG_OP = 'INSERT' THEN")
		b.in(func() {
			// A row that an update moves to another partition is inserted there, with its old columns: they stay as they are.
			b.line("IF %s AND NOT %s THEN", given(s.New()), given(targets))
			b.in(func() { mirror(b) })
			b.line("END IF;")
		})
		b.line("ELSIF %s THEN", changed(s.New()))
		b.in(func() { mirror(b) })
		b.line("END IF;")
		b.line("RETURN NEW;")
	})
	b.line("END")
	return b.String()
}

// assign sets columns to expressions.
func (s *Spec) assign(b *block, expressions map[string]string) {
	if len(expressions) == 0 {
		b.line("NULL; -- Nothing says how the old side follows from the new one.")
		return
	}
	s.selectInto(b, expressions, stage.SortedKeys(expressions))
}

// selectInto computes the expressions, in the order of their keys, into fields of NEW. The row stands there as a table of
// the table's name, so that the expressions mean what they mean in an UPDATE.
func (s *Spec) selectInto(b *block, expressions map[string]string, targets []string) {
	b.line("SELECT %s", values(expressions))
	b.line("  INTO %s", fields("NEW", targets))
	b.line("  FROM (SELECT NEW.*) AS %s;", pg.Quote(s.Table.Name))
}

// outcome renders what forward gives for a record, as one value.
func (s *Spec) outcome(record string) string {
	return fmt.Sprintf("(SELECT ROW(%s)::record FROM (SELECT %s.*) AS %s)", values(s.Forward), record, pg.Quote(s.Table.Name))
}

func values(expressions map[string]string) string {
	list := make([]string, 0, len(expressions))
	for _, column := range stage.SortedKeys(expressions) {
		list = append(list, expression.Parenthesize(expressions[column]))
	}
	return strings.Join(list, ", ")
}

// given is true when a column of a new row is not NULL. A composite value of NULLs is a value.
func given(columns []string) string {
	return fmt.Sprintf("num_nonnulls(%s) > 0", fields("NEW", columns))
}

func changed(columns []string) string { return differ("NEW", "OLD", columns) }

// differ compares stored images: the operator *<> works for every type, and sees what equality overlooks, such as numeric 1.0
// and 1.00.
func differ(one, other string, columns []string) string {
	return fmt.Sprintf("ROW(%s)::record OPERATOR(pg_catalog.*<>) ROW(%s)::record", fields(one, columns), fields(other, columns))
}

// fields renders columns of the record NEW or OLD.
func fields(record string, columns []string) string {
	qualified := make([]string, len(columns))
	for i, column := range columns {
		qualified[i] = record + "." + pg.Quote(column)
	}
	return strings.Join(qualified, ", ")
}

// dollarQuote quotes a function's body with a tag that is not in it.
func dollarQuote(body string) string {
	tag := "$sync$"
	for i := 1; strings.Contains(body, tag); i++ {
		tag = fmt.Sprintf("$sync%d$", i)
	}
	return tag + "\n" + body + tag
}

// block collects lines of a function.
type block struct {
	strings.Builder
	depth int
}

func (b *block) line(format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	b.WriteString(strings.Repeat("  ", b.depth) + text + "\n")
}

func (b *block) in(fn func()) {
	b.depth++
	fn()
	b.depth--
}
