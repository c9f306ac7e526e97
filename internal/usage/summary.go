package usage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

// summaryLines bounds each list of a summary.
const summaryLines = 10

// Summary tells the report in a few lines of plain text, fit for a pull request. Times are absolute, because a plan is read
// later than it is made.
func (r *Report) Summary() string {
	title := fmt.Sprintf("Use of %s (%s):", r.Table, strings.Join(r.Columns, ", "))
	var parts []string
	add := func(heading string, items []string) {
		if len(items) == 0 {
			return
		}
		if more := len(items) - summaryLines; more > 0 {
			items = append(slices.Clone(items[:summaryLines]), fmt.Sprintf("and %d more", more))
		}
		parts = append(parts, heading+"\n"+finding.List(items))
	}
	if len(r.Away) > 0 {
		add("A contract has taken away:", r.Away)
	}
	if len(r.Planned) > 0 {
		add("Not there yet:", r.Planned)
	}
	add("Seen writing the old side only:", describeWriters(r.Legacy()))
	certain, possible := r.split()
	add(fmt.Sprintf("Statements that use the columns (%d%s):", len(certain), r.callsSince(certain)), describeStatements(certain))
	add(fmt.Sprintf("Statements that may use them (%d%s):", len(possible), r.callsSince(possible)), describeStatements(possible))
	for _, effect := range []struct {
		is      Effect
		heading string
	}{
		{Blocks, "A drop of the columns is refused while these need them:"},
		{Dropped, "A drop of the columns takes these along:"},
		{Mentions, "Functions whose text has the words:"},
	} {
		var names []string
		for _, o := range r.Objects {
			if o.Effect == effect.is {
				names = append(names, o.String())
			}
		}
		add(effect.heading, names)
	}
	if len(parts) == 0 {
		parts = append(parts, "Nothing is known to use them.")
	}
	if r.WatchedSince == nil && len(r.Writers) == 0 {
		parts = append(parts, "No sync watches who writes them.")
	}
	add("What could not be seen:", r.Coverage)
	return strings.Join(append([]string{title}, parts...), "\n")
}

// split returns the certain statements and the possible ones.
func (r *Report) split() (certain, possible []Statement) {
	for _, s := range r.Statements {
		if s.Certain {
			certain = append(certain, s)
		} else {
			possible = append(possible, s)
		}
	}
	return certain, possible
}

func (r *Report) callsSince(statements []Statement) string {
	if r.LastLook == nil {
		return ""
	}
	ran, calls := 0, int64(0)
	for _, s := range statements {
		if s.CallsSince != nil && *s.CallsSince > 0 {
			ran++
			calls += *s.CallsSince
		}
	}
	return fmt.Sprintf("; %d of them ran since %s, %s", ran, stamp(*r.LastLook), finding.Count(calls, "call"))
}

func describeWriters(writers []ledger.Writer) (lines []string) {
	for _, w := range writers {
		from := ""
		if w.Address != nil {
			from = " from " + w.Address.Addr().String()
		}
		name := w.ApplicationName
		if name == "" {
			name = "(no application_name)"
		}
		lines = append(lines, fmt.Sprintf("%s, role %s%s, last seen %s", name, w.Role, from, stamp(w.LastSeen)))
	}
	return lines
}

func describeStatements(statements []Statement) (lines []string) {
	for _, s := range statements {
		uses := ""
		if len(s.Reads) > 0 {
			uses += ", reads " + strings.Join(s.Reads, ", ")
		}
		if len(s.Writes) > 0 {
			uses += ", writes " + strings.Join(s.Writes, ", ")
		}
		lines = append(lines, fmt.Sprintf("role %s%s, %s: %s", s.Role, uses, finding.Count(s.Calls, "call"), s.Brief()))
	}
	return lines
}

// Brief returns the beginning of the statement on one line.
func (s Statement) Brief() string { return Cut(strings.Join(strings.Fields(s.Query), " "), 120) }

// Cut shortens a text to so many characters. Three backticks in a row would end the code block of a pull-request comment.
func Cut(text string, length int) string {
	text = strings.ReplaceAll(text, "```", "` ` `")
	characters := []rune(text)
	if len(characters) <= length {
		return text
	}
	return string(characters[:length]) + " ..."
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
