package atlantis

import "testing"

type rewriting struct{ name, in, want string }

func expectRewritten(t *testing.T, rewrite func(string) string, cases []rewriting) {
	t.Helper()
	for _, c := range cases {
		if got := rewrite(c.in); got != c.want {
			t.Errorf("%s: %q became\n%q, want\n%q", c.name, c.in, got, c.want)
		}
	}
}

func TestColoursAreStripped(t *testing.T) {
	expectRewritten(t, StripANSI, []rewriting{
		{"bold and reset", "\x1b[0m\x1b[1mTerraform\x1b[0m will", "Terraform will"},
		{"frame", "\x1b[33m╷\x1b[0m\x1b[0m\n\x1b[33m│\x1b[0m text", "╷\n│ text"},
		{"nothing", "a [0m b", "a [0m b"},
	})
}

func TestEverythingUpToTheLastRefreshIsDropped(t *testing.T) {
	expectRewritten(t, StripRefresh, []rewriting{
		{"none", "Terraform will\nPlan: 1", "Terraform will\nPlan: 1"},
		{"several", "a: Refreshing state... [id=1]\nb: Refreshing state... [id=2]\n\nTerraform will\n", "\nTerraform will\n"},
		{"between other lines", "\na: Reading...\na: Refreshing state...\nb: Read complete\nrest", "b: Read complete\nrest"},
		{"in a diagnostic, which hides the plan", "\n  + a\n│ Refreshing state... is slow\nrest", "rest"},
		{"only the first line", "a: Refreshing state...\nrest", "a: Refreshing state...\nrest"},
		{"the last line", "x\na: Refreshing state...", ""},
	})
}

func TestSignsOfResourcesMoveToTheStartOfTheLine(t *testing.T) {
	expectRewritten(t, AlignSigns, []rewriting{
		{"each sign", "  + a\n  ~ b\n  - c\n", "+ a\n~ b\n- c\n"},
		{"replacement", "-/+ a\n  -/+ b", "-/+ a\n-/+ b"},
		{"attributes stay", "      + id = 1\n    ~ x", "      + id = 1\n    ~ x"},
		{"diagnostics stay", "│   - pid 1", "│   - pid 1"},
		{"comment of a resource stays", "  # a will be created", "  # a will be created"},
	})
}

func TestDiffMarkdownMovesSignsOfAttributes(t *testing.T) {
	expectRewritten(t, DiffMarkdown, []rewriting{
		{"value", "x\n      + lock = \"none\"", "x\n+       lock = \"none\""},
		{"change", "x\n      ~ status = \"running\" -> \"complete\"", "x\n!       status = \"running\" -> \"complete\""},
		{"heredoc", "x\n      + sql = <<-EOT", "x\n+       sql = <<-EOT"},
		{"block", "x\n      + {", "x\n+       {"},
		{"element", "x\n          - \"full_name\",", "x\n-           \"full_name\","},
		{"resource", "~ resource \"a\" \"b\" {", "! resource \"a\" \"b\" {"},
		{"minus in SQL", "x\n            - 1", "x\n            - 1"},
		{"sign without a space", "x\n            -x = 1", "x\n            -x = 1"},
		{"diagnostic", "│   - pid 1 = 2", "│   - pid 1 = 2"},
		{"space around", "\n\nx\n\n", "x"},
	})
}
