// Package finding carries what the code has to say to the person who runs it: a fact about an object, why it
// matters and what to do. Every layer speaks in findings; only the provider turns them into diagnostics.
package finding

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Finding is one statement to the user. As an error it stops the work; in a list of warnings it informs.
type Finding struct {
	// Attribute is the path of the configuration attribute that caused it, such as {"set", "first_name"}; empty
	// when it concerns the object as a whole.
	Attribute []string
	// Summary names the object and the fact, without a full stop. Terraform collapses warnings that share a
	// summary, so the object must be in it.
	Summary string
	// Detail says what was found, why it matters and what to do. Lines that start with two spaces keep their
	// layout; Terraform re-wraps the others.
	Detail string
	// Cause is the error that led to it, if any, so that callers can still ask for its SQLSTATE.
	Cause error
}

// New returns a finding about the object as a whole.
func New(summary, detail string) *Finding { return &Finding{Summary: summary, Detail: detail} }

// At returns the finding with the configuration attribute that caused it.
func (f *Finding) At(attribute ...string) *Finding {
	f.Attribute = attribute
	return f
}

// Because returns the finding with its cause.
func (f *Finding) Because(err error) *Finding {
	f.Cause = err
	return f
}

// Error returns the finding on one line, for logs and wrapped errors.
func (f *Finding) Error() string {
	return f.Summary + ": " + strings.Join(strings.Fields(f.Detail), " ")
}

// Unwrap returns the cause.
func (f *Finding) Unwrap() error { return f.Cause }

// All returns the findings in err, which may be joined from several errors. An error that is no finding becomes
// one with the given summary.
func All(err error, summary string) []*Finding {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Finding
		for _, e := range joined.Unwrap() {
			all = append(all, All(e, summary)...)
		}
		return all
	}
	var f *Finding
	if errors.As(err, &f) {
		return []*Finding{f}
	}
	return []*Finding{{Summary: summary, Detail: Capitalize(err.Error()) + ".", Cause: err}}
}

// Paragraphs joins the non-empty parts of a detail text with blank lines.
func Paragraphs(parts ...string) string {
	kept := parts[:0:0]
	for _, p := range parts {
		if p = strings.TrimRight(p, "\n "); p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "\n\n")
}

// Indent returns text with two spaces before every line, which keeps Terraform from re-wrapping it.
func Indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}

// List returns the items as indented bullet lines.
func List(items []string) string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = fmt.Sprintf("  - %s", item)
	}
	return strings.Join(lines, "\n")
}

// Capitalize begins a sentence with the text.
func Capitalize(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Count says how many there are: 1 row, 2 rows.
func Count[N int | int64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Duration renders a duration as people write it: 50m, not 50m0s.
func Duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
