package tfcli

import (
	"io"
	"regexp"
	"strings"
)

// StripOverrideWarning takes out the warning that development overrides are in effect. It is printed on every run
// and is true of every run here, so it only hides what a user of a released provider would see.
func StripOverrideWarning(output string) string {
	var kept strings.Builder
	filter := NewOverrideFilter(&kept)
	// A strings.Builder takes everything.
	_, _ = io.WriteString(filter, output)
	_ = filter.Close()
	return kept.String()
}

// OverrideFilter passes output on without that warning, a line at a time, for output that is shown as it comes.
type OverrideFilter struct {
	w       io.Writer
	partial string // the line that has not ended yet
	held    string // a line that may turn out to be the start of the warning
	state   filterState
}

type filterState int

const (
	passing  filterState = iota
	framed               // in the warning, up to the lower end of its frame
	plain                // in the warning without a frame, up to its last sentence
	trailing             // behind the frame, where one empty line may follow
)

const (
	warningTitle = "Warning: Provider development overrides are in effect"
	// plainEnd ends the last sentence in both products. With -no-color there is no frame to go by.
	plainEnd = "releases."
)

// NewOverrideFilter returns a filter that writes to w.
func NewOverrideFilter(w io.Writer) *OverrideFilter { return &OverrideFilter{w: w} }

// Write implements io.Writer.
func (f *OverrideFilter) Write(b []byte) (int, error) {
	f.partial += string(b)
	for {
		end := strings.IndexByte(f.partial, '\n')
		if end < 0 {
			return len(b), nil
		}
		line := f.partial[:end+1]
		f.partial = f.partial[end+1:]
		if err := f.pass(f.next(line)); err != nil {
			return 0, err
		}
	}
}

// Close writes what was held back to see how it goes on.
func (f *OverrideFilter) Close() error {
	rest := f.held + f.partial
	f.held, f.partial = "", ""
	return f.pass(rest)
}

func (f *OverrideFilter) pass(text string) error {
	if text == "" {
		return nil
	}
	_, err := io.WriteString(f.w, text)
	return err
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// next takes one line and returns the text that can be shown now.
func (f *OverrideFilter) next(line string) string {
	bare := strings.TrimSpace(escape.ReplaceAllString(line, ""))
	switch f.state {
	case framed:
		if bare == "╵" {
			f.state = trailing
		}
		return ""
	case plain:
		if strings.HasSuffix(bare, plainEnd) {
			f.state = passing
		}
		return ""
	case trailing:
		f.state = passing
		if bare == "" {
			return ""
		}
	}

	if strings.TrimPrefix(bare, "│ ") == warningTitle {
		f.state = plain
		if strings.HasPrefix(bare, "│") {
			f.state = framed
		}
		f.held = "" // the upper end of the frame, or the empty line that sets the warning off
		return ""
	}
	out := f.held
	f.held = ""
	if bare == "╷" || bare == "" {
		f.held = line
		return out
	}
	return out + line
}
