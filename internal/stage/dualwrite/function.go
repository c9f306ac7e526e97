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

// body renders what happens to one row. A side is missing when all its columns are NULL, and changed when one of them has
// other bytes than before: the operator *<> looks at the stored image, so that it works for every type and sees what
// equality overlooks, such as numeric 1.0 and 1.00.
func (s *Spec) body() string {
	b := &block{}
	b.line("#variable_conflict use_column")
	b.line("BEGIN")
	b.in(func() {
		b.line("IF TG_OP = 'INSERT' THEN")
		b.in(func() { s.onInsert(b) })
		b.line("ELSE")
		b.in(func() { s.onUpdate(b) })
		b.line("END IF;")
		b.line("RETURN NEW;")
	})
	b.line("END")
	return b.String()
}

func (s *Spec) onInsert(b *block) {
	b.line("IF %s THEN", s.newMissing())
	b.in(func() {
		if len(s.Reverse) == 0 {
			s.forward(b)
			s.note(b, "old", "NOT ("+s.newMissing()+")")
			return
		}
		b.line("IF NOT (%s) THEN", missing(s.Old()))
		b.in(func() {
			s.forward(b)
			s.note(b, "old", "")
		})
		b.line("END IF;")
	})
	if len(s.Reverse) > 0 {
		b.line("ELSIF %s THEN", missing(s.Old()))
		b.in(func() {
			s.reverse(b)
			s.note(b, "new", "")
		})
	}
	b.line("END IF;")
}

func (s *Spec) onUpdate(b *block) {
	newChanged := changed(s.New())
	b.line("IF %s THEN", s.oldChanged())
	b.in(func() {
		b.line("IF %s THEN", newChanged)
		b.in(func() { s.onConflict(b) })
		b.line("ELSE")
		b.in(func() {
			s.forward(b)
			s.note(b, "old", "")
		})
		b.line("END IF;")
	})
	b.line("ELSIF %s THEN", newChanged)
	b.in(func() {
		s.reverse(b)
		s.note(b, "new", "")
	})
	b.line("ELSIF %s THEN", s.newMissing())
	b.in(func() { s.forward(b) })
	b.line("END IF;")
}

func (s *Spec) onConflict(b *block) {
	switch s.Conflict {
	case OldWins:
		s.forward(b)
	case NewWins:
		s.reverse(b)
	case Reject:
		s.reject(b)
	default:
		b.line("NULL; -- The writer knows both sides.")
	}
}

// reject fails unless one side is what the expressions make of the other one.
func (s *Spec) reject(b *block) {
	b.line("DECLARE")
	b.line("  given record := NEW;")
	b.line("BEGIN")
	b.in(func() {
		s.forward(b)
		disagree := differ("NEW", "given", s.New())
		if len(s.Reverse) > 0 {
			b.line("IF %s THEN", disagree)
			b.in(func() {
				b.line("NEW := given;")
				s.reverse(b)
			})
			b.line("END IF;")
			disagree = differ("NEW", "given", append(s.New(), s.Old()...))
		}
		b.line("IF %s THEN", disagree)
		b.in(func() {
			b.line("RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',")
			b.line("  MESSAGE = %s,", literal(fmt.Sprintf("both sides of the sync of %s were changed, and they disagree", s.describe())))
			b.line("  HINT = 'Write one side only: the trigger fills the other one.';")
		})
		b.line("END IF;")
	})
	b.line("END;")
}

// oldChanged is the test whether an update changes the old side. Without reverse nobody has said which columns that is: what
// counts then is whether the expressions have another outcome.
func (s *Spec) oldChanged() string {
	if len(s.Reverse) > 0 {
		return changed(s.Old())
	}
	return fmt.Sprintf("%s\n     OPERATOR(pg_catalog.*<>) %s", s.row(s.Forward, "NEW"), s.row(s.Forward, "OLD"))
}

func (s *Spec) newMissing() string { return missing(s.New()) }

func (s *Spec) forward(b *block) { s.assign(b, s.Forward) }

func (s *Spec) reverse(b *block) {
	if len(s.Reverse) == 0 {
		b.line("NULL; -- Nothing says how the old side follows from the new one.")
		return
	}
	s.assign(b, s.Reverse)
}

// assign sets columns to expressions.
func (s *Spec) assign(b *block, expressions map[string]string) {
	s.selectInto(b, expressions, stage.SortedKeys(expressions))
}

// selectInto computes the expressions, in the order of their keys, into fields of NEW. The row stands there as a table of
// the table's name, so that the expressions mean what they mean in an UPDATE.
func (s *Spec) selectInto(b *block, expressions map[string]string, targets []string) {
	b.line("SELECT %s", values(expressions))
	b.line("  INTO %s", fields("NEW", targets))
	b.line("  FROM (SELECT NEW.*) AS %s;", pg.Quote(s.Table.Name))
}

// row renders the outcome of the expressions for a record as one value.
func (s *Spec) row(expressions map[string]string, record string) string {
	return fmt.Sprintf("(SELECT ROW(%s)::record FROM (SELECT %s.*) AS %s)", values(expressions), record, pg.Quote(s.Table.Name))
}

func values(expressions map[string]string) string {
	list := make([]string, 0, len(expressions))
	for _, column := range stage.SortedKeys(expressions) {
		list = append(list, expression.Parenthesize(expressions[column]))
	}
	return strings.Join(list, ", ")
}

// mirrorBody renders the function that stays while the old columns are in quarantine, under the names given: nobody else
// writes them there, and it keeps them as the old services would want to find them.
func (s *Spec) mirrorBody(names map[string]string) string {
	columns := s.Old()
	targets := make([]string, len(columns))
	for i, column := range columns {
		targets[i] = names[column]
	}
	b := &block{}
	mirror := func() { s.selectInto(b, s.Reverse, targets) }
	b.line("#variable_conflict use_column")
	b.line("BEGIN")
	b.in(func() {
		b.line("IF TG_OP = 'INSERT' THEN")
		b.in(func() {
			b.line("IF NOT (%s) THEN", s.newMissing())
			b.in(mirror)
			b.line("END IF;")
		})
		b.line("ELSIF %s THEN", changed(s.New()))
		b.in(mirror)
		b.line("END IF;")
		b.line("RETURN NEW;")
	})
	b.line("END")
	return b.String()
}

// note tells the ledger who writes one side only: once in a transaction it looks whether this session has told so within
// the minute. The condition may narrow it.
func (s *Spec) note(b *block, side, condition string) {
	looked, noted := literal("terraform_postgres.looked_"+side+s.hash()), literal("terraform_postgres.noted_"+side+s.hash())
	const mark = "(date_part('epoch', now()) / 60)::bigint || '/' || current_setting('role') || '/' || current_setting('application_name')"
	if condition != "" {
		condition += " AND "
	}
	b.line("IF %scurrent_setting(%s, true) IS DISTINCT FROM 'on' THEN", condition, looked)
	b.in(func() {
		b.line("PERFORM set_config(%s, 'on', true);", looked)
		b.line("IF current_setting(%s, true)", noted)
		b.line("   IS DISTINCT FROM %s THEN", mark)
		b.in(func() {
			b.line("PERFORM %s(%s, '%s', %s,", pg.TableName{Schema: s.Schema, Name: "note_writer"}.SQL(), literal(s.ID), side, noted)
			b.line("  %s);", mark)
		})
		b.line("END IF;")
	})
	b.line("END IF;")
}

func missing(columns []string) string {
	conditions := make([]string, len(columns))
	for i, column := range columns {
		// IS NOT DISTINCT FROM NULL also takes a composite value of nothing but NULLs for a value.
		conditions[i] = "NEW." + pg.Quote(column) + " IS NOT DISTINCT FROM NULL"
	}
	return strings.Join(conditions, " AND ")
}

func changed(columns []string) string { return differ("NEW", "OLD", columns) }

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
