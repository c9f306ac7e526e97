package atlantis

import (
	"fmt"
	"strings"
)

// Diagnostics returns the title of each diagnostic in output without colours, such as "Warning: x". Terraform draws a frame around
// each, and the error says where one is broken: what stands outside of it looks like a part of the plan.
func Diagnostics(output string) (titles []string, err error) {
	const begin, side, end = "╷", "│", "╵"
	framed, titled := false, false
	for line := range strings.SplitSeq(output, "\n") {
		title, isTitle := strings.CutPrefix(line, side+" ")
		isTitle = isTitle && (strings.HasPrefix(title, "Warning: ") || strings.HasPrefix(title, "Error: "))
		switch {
		case line == begin && !framed:
			framed, titled = true, false
		case line == end && framed && titled:
			framed = false
		case line == begin, line == end, strings.HasPrefix(line, side) != framed:
			return nil, fmt.Errorf("a frame is broken at %q", line)
		case framed && !titled:
			if !isTitle {
				return nil, fmt.Errorf("a frame begins with %q", line)
			}
			titles, titled = append(titles, title), true
		}
	}
	if framed {
		return nil, fmt.Errorf("the frame of %q is open", titles[len(titles)-1])
	}
	return titles, nil
}
