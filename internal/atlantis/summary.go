package atlantis

import (
	"fmt"
	"regexp"
	"strconv"
)

// Summary is what Atlantis finds out about a plan from its text. Every match counts, also one in a diagnostic.
type Summary struct {
	Import, Add, Change, Destroy, Forget int
	ChangesOutside                       bool
	NoChanges                            bool
	// Matches is how many sentences were found and summed up.
	Matches int
}

var (
	changes        = regexp.MustCompile(`Plan: (?:(\d+) to import, )?(\d+) to add, (\d+) to change, (\d+) to destroy(?:, (\d+) to forget)?\.`)
	noChanges      = regexp.MustCompile(`No changes\. (?:Infrastructure is up-to-date|Your infrastructure matches the configuration)\.`)
	changesOutside = regexp.MustCompile(`Note: Objects have changed outside of (?:Terraform|OpenTofu)`)
)

// Summarize reads a plan's text.
func Summarize(output string) Summary {
	s := Summary{ChangesOutside: changesOutside.MatchString(output), NoChanges: noChanges.MatchString(output)}
	for _, match := range changes.FindAllStringSubmatch(output, -1) {
		s.Matches++
		for i, count := range []*int{&s.Import, &s.Add, &s.Change, &s.Destroy, &s.Forget} {
			n, _ := strconv.Atoi(match[i+1]) // A part that is not there counts as none.
			*count += n
		}
	}
	return s
}

// String is the line that stands below the plan.
func (s Summary) String() string {
	if s.Matches == 0 {
		if s.NoChanges {
			return "No changes. Your infrastructure matches the configuration."
		}
		return ""
	}
	line := "Plan: "
	if s.Import > 0 {
		line += fmt.Sprintf("%d to import, ", s.Import)
	}
	line += fmt.Sprintf("%d to add, %d to change, %d to destroy", s.Add, s.Change, s.Destroy)
	if s.Forget > 0 {
		line += fmt.Sprintf(", %d to forget", s.Forget)
	}
	return line + "."
}
