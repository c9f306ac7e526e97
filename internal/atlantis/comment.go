package atlantis

import (
	"fmt"
	"strings"
)

// unwrapped is how many lines of output a comment shows without a click.
const unwrapped = 12

// Comment is what Atlantis posts about one project.
type Comment struct {
	// Text is the whole of it, in Markdown.
	Text string
	// Output is what stands in the code block.
	Output string
	// Summary is of a plan alone.
	Summary Summary
}

// PlanComment renders a plan that succeeded.
func (p *Project) PlanComment(run Run) Comment {
	output := AlignSigns(StripRefresh(StripANSI(run.Output)))
	c := Comment{Output: strings.TrimSpace(output), Summary: Summarize(output)}
	if p.DiffMarkdown {
		c.Output = DiffMarkdown(output)
	}
	next := "* :arrow_forward: To **apply** this plan, comment:\n  ```shell\n  atlantis apply " + p.flags() + "\n  ```\n"
	if c.Summary.NoChanges {
		next = ""
	}
	c.Text = p.heading("Plan") + block(c.Output, "diff")
	if summary := c.Summary.String(); isLong(c.Output) && summary != "" {
		c.Text += summary + "\n"
	}
	if c.Summary.ChangesOutside {
		c.Text += "**Note: Objects have changed outside of Terraform**\n"
	}
	c.Text += "\n" + next
	return c
}

// ApplyComment renders an apply, or a command that failed.
func (p *Project) ApplyComment(run Run) Comment { return p.comment("Apply", "diff", run) }

// FailedPlanComment renders a plan that failed: nothing of its output is moved or dropped.
func (p *Project) FailedPlanComment(run Run) Comment { return p.comment("Plan", "diff", run) }

func (p *Project) comment(command, language string, run Run) Comment {
	c := Comment{Output: strings.TrimSpace(StripANSI(run.Output))}
	failed := ""
	if run.ExitCode != 0 {
		// The error begins with the command line, and has no colours.
		language, failed = "", fmt.Sprintf("**%s Error**\n", command)
		c.Output = fmt.Sprintf("exit status %d: running %q in %q:\n%s", run.ExitCode, "terraform "+strings.ToLower(command), p.Dir, c.Output)
	}
	c.Text = p.heading(command) + failed + block(c.Output, language)
	return c
}

func (p *Project) heading(command string) string {
	project := ""
	if p.Name != "" {
		project = fmt.Sprintf("project: `%s` ", p.Name)
	}
	return fmt.Sprintf("Ran %s for %sdir: `%s` workspace: `%s`\n\n", command, project, p.Dir, p.Workspace)
}

func (p *Project) flags() string {
	if p.Name != "" {
		return "-p " + p.Name
	}
	return fmt.Sprintf("-d %s -w %s", p.Dir, p.Workspace)
}

// block puts output into a code block, which is folded when it is long.
func block(output, language string) string {
	fenced := "```" + language + "\n" + output + "\n```\n"
	if !isLong(output) {
		return fenced
	}
	return "<details><summary>Show Output</summary>\n\n" + fenced + "</details>\n"
}

func isLong(output string) bool { return strings.Count(output, "\n")+1 > unwrapped }
