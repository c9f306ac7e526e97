package atlantis

import (
	"regexp"
	"strings"
)

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*[a-zA-Z]")

// StripANSI takes colours out.
func StripANSI(output string) string { return escapes.ReplaceAllString(output, "") }

// refreshing is what Terraform prints for each resource that it reads.
const refreshing = "Refreshing state..."

// StripRefresh drops everything up to the last line that says that something is refreshed, wherever that line came from. A
// first line is never taken for one.
func StripRefresh(output string) string {
	at := strings.LastIndex(output, refreshing)
	if at < 0 || !strings.Contains(output[:at], "\n") {
		return output
	}
	_, rest, _ := strings.Cut(output[at:], "\n")
	return rest
}

// AlignSigns moves the signs of whole resources, which Terraform indents by two spaces, to the start of the line, where a
// diff block gives them their colours.
func AlignSigns(output string) string {
	lines := strings.Split(output, "\n")
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, "  "); ok && rest != "" && strings.ContainsRune("+~-", rune(rest[0])) {
			lines[i] = rest
		}
	}
	return strings.Join(lines, "\n")
}

// attributeMarks are what a line with a sign must have behind it to be taken for a line of a plan.
var attributeMarks = regexp.MustCompile(`\s=\s|\s->\s|<<|\{|\(known after apply\)| {2,}[^ ]+:`)

var listElement = regexp.MustCompile(`^".*",`)

// DiffMarkdown does what the option --enable-diff-markdown-format adds: the signs of attributes and of the elements of lists
// come to the start of the line as well, and ~ becomes !, which a diff block shows in orange.
func DiffMarkdown(output string) string {
	lines := strings.Split(output, "\n")
	for i, line := range lines {
		rest := strings.TrimLeft(line, " ")
		indent := line[:len(line)-len(rest)]
		if indent != "" && isSigned(rest) && (attributeMarks.MatchString(rest[1:]) || listElement.MatchString(rest[2:])) {
			lines[i] = rest[:2] + indent + rest[2:]
		}
		if strings.HasPrefix(lines[i], "~") {
			lines[i] = "!" + lines[i][1:]
		}
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// isSigned reports whether text begins with a sign and a space.
func isSigned(text string) bool {
	return len(text) > 1 && strings.IndexByte("+-~", text[0]) >= 0 && (text[1] == ' ' || text[1] == '\t')
}
