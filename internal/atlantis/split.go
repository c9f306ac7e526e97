package atlantis

import "strings"

// How long a comment may be, in characters.
const (
	GitHubLimit          = 65_536
	BitbucketServerLimit = 32_768
)

// maxComments is how many comments one command may get. What is too much goes from the start.
const maxComments = 100

const (
	truncated = "**Warning**: Command output is larger than the maximum number of comments per command. Output truncated.\n"
	goesOn    = "\n<br>\n\n**Warning**: Output length greater than max comment size. Continued in next comment."
	wentOn    = "Continued from previous comment.\n"
)

// Split cuts a comment into several, each within the limit. A code block that is cut is closed and opened again. It cuts at
// the end of a line where it can.
func Split(comment string, limit int) []string {
	if len(comment) <= limit {
		return []string{comment}
	}
	var parts []string
	open := "" // The first line of the code block that the last part was in.
	for rest := comment; rest != ""; {
		head := ""
		if len(parts) > 0 {
			head = wentOn
		}
		if open != "" {
			head += "<details><summary>Show Output</summary>\n\n" + open + "\n"
		}
		if len(head)+len(rest) <= limit {
			parts = append(parts, head+rest)
			break
		}
		room := limit - len(head) - len("\n```\n</details>"+goesOn)
		cut := strings.LastIndexByte(rest[:room], '\n') + 1
		if cut == 0 {
			cut = room // A line that is longer than a comment.
		}
		part := rest[:cut]
		rest, open = rest[cut:], openBlock(open, part)
		tail := goesOn
		if open != "" {
			tail = "\n```\n</details>" + goesOn
		}
		parts = append(parts, head+strings.TrimSuffix(part, "\n")+tail)
	}
	if len(parts) > maxComments {
		parts = parts[len(parts)-maxComments:]
		parts[0] = truncated + parts[0]
	}
	return parts
}

// openBlock returns the first line of the code block that is open at the end of text, or "". The block of before is open at its
// start.
func openBlock(before, text string) string {
	for line := range strings.Lines(text) {
		fence := strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(fence, "```"):
		case before == "":
			before = fence
		case fence == "```":
			before = ""
		}
	}
	return before
}
