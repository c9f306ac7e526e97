package atlantis

import (
	"fmt"
	"strings"
	"testing"
)

func TestCommentWithinTheLimitIsLeftAlone(t *testing.T) {
	comment := strings.Repeat("x", 100)
	if parts := Split(comment, 100); len(parts) != 1 || parts[0] != comment {
		t.Errorf("got %q", parts)
	}
}

func TestSplitClosesAndOpensTheCodeBlock(t *testing.T) {
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("+ line %d", i))
	}
	comment := "Ran Plan\n\n<details><summary>Show Output</summary>\n\n```diff\n" + strings.Join(lines, "\n") + "\n```\n</details>\nPlan: 1 to add\n"
	const limit = 700
	parts := Split(comment, limit)
	if len(parts) < 3 {
		t.Fatalf("%d parts", len(parts))
	}
	all := strings.Join(parts, "\n")
	for _, line := range lines {
		if strings.Count(all, line+"\n") != 1 {
			t.Errorf("%q is not there once", line)
		}
	}
	for i, part := range parts {
		if len(part) > limit {
			t.Errorf("part %d has %d characters", i, len(part))
		}
		if openBlock("", part) != "" {
			t.Errorf("part %d leaves a code block open:\n%s", i, part)
		}
		if i > 0 && !strings.HasPrefix(part, wentOn+"<details><summary>Show Output</summary>\n\n```diff\n") {
			t.Errorf("part %d begins otherwise:\n%s", i, part)
		}
	}
}

func TestSplitOutsideOfACodeBlockOpensNone(t *testing.T) {
	for _, part := range Split(strings.Repeat("some words\n", 100), 400) {
		if strings.Contains(part, "```") {
			t.Errorf("a code block in:\n%s", part)
		}
	}
}

func TestTooManyCommentsLoseTheirStart(t *testing.T) {
	parts := Split("first\n"+strings.Repeat("some words\n", 5000)+"last\n", 300)
	if len(parts) != maxComments || !strings.HasPrefix(parts[0], truncated) || !strings.Contains(parts[maxComments-1], "last") {
		t.Errorf("%d comments, the first is:\n%s", len(parts), parts[0])
	}
}
