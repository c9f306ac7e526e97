package atlantis

import "testing"

func TestSummary(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"changes":      {"Plan: 3 to add, 0 to change, 1 to destroy.", "Plan: 3 to add, 0 to change, 1 to destroy."},
		"import":       {"Plan: 1 to import, 0 to add, 1 to change, 0 to destroy.", "Plan: 1 to import, 0 to add, 1 to change, 0 to destroy."},
		"forget":       {"Plan: 0 to add, 0 to change, 0 to destroy, 2 to forget.", "Plan: 0 to add, 0 to change, 0 to destroy, 2 to forget."},
		"actions":      {"Plan: 1 to add, 0 to change, 0 to destroy. Actions: 1 to invoke.", "Plan: 1 to add, 0 to change, 0 to destroy."},
		"summed up":    {"Plan: 1 to add, 0 to change, 0 to destroy.\n│ Plan: 2 to add, 0 to change, 3 to destroy.", "Plan: 3 to add, 0 to change, 3 to destroy."},
		"no changes":   {"No changes. Your infrastructure matches the configuration.", "No changes. Your infrastructure matches the configuration."},
		"neither":      {"You can apply this plan", ""},
		"outputs only": {"Changes to Outputs:", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Summarize(c.in).String(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	if s := Summarize("Note: Objects have changed outside of Terraform\n"); !s.ChangesOutside {
		t.Error("a change outside was not noticed")
	}
}
