package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/mattn/go-isatty"
)

// console is where the demo prints. On a terminal it has bold text and one line at the bottom that changes.
type console struct {
	terminal bool
	colours  bool

	mu     sync.Mutex
	w      io.Writer
	status string
}

const (
	indent    = "  "
	width     = 100 // of a heading's line, in characters
	eraseLine = "\r\x1b[K"
)

func newConsole(file *os.File) *console {
	terminal := isTerminal(file)
	return &console{w: file, terminal: terminal, colours: terminal && os.Getenv("NO_COLOR") == ""} // https://no-color.org
}

func isTerminal(file *os.File) bool {
	return isatty.IsTerminal(file.Fd()) || isatty.IsCygwinTerminal(file.Fd())
}

// Line prints lines above the status.
func (c *console) Line(lines ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != "" {
		c.print(eraseLine)
	}
	for _, line := range lines {
		c.print(line + "\n")
	}
	c.print(c.status)
}

// Text prints a text of several lines, indented.
func (c *console) Text(text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if line != "" {
			line = indent + line
		}
		c.Line(line)
	}
}

// Heading sets a part off from the one before.
func (c *console) Heading(title string) {
	rule := strings.Repeat("─", max(0, width-len("── ")-len([]rune(title))))
	c.Line("", "", "── "+c.bold(title)+" "+rule, "")
}

// Fact prints what is known about one thing.
func (c *console) Fact(name, format string, arguments ...any) {
	c.Line(indent + fmt.Sprintf("%-11s", name) + fmt.Sprintf(format, arguments...))
}

// Command prints a command as a person would type it.
func (c *console) Command(words ...string) {
	c.Line("", indent+c.bold("$ "+strings.Join(words, " ")), "")
}

// Status replaces the line at the bottom of a terminal. Elsewhere nothing can be replaced, and nothing is printed.
func (c *console) Status(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.terminal && (text != "" || c.status != "") {
		c.status = text
		c.print(eraseLine + text)
	}
}

func (c *console) bold(text string) string {
	if !c.colours {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// print ignores errors: a reader that goes away ends the demo with SIGPIPE.
func (c *console) print(text string) { _, _ = io.WriteString(c.w, text) }
