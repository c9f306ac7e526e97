package ddl

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Forecast tells the reviewer of a plan what a change under a lock meets on the table right now. The title names the
// change and the table.
func Forecast(ctx context.Context, tx pgx.Tx, table *pg.Table, lock Lock, title string, more ...string) (*finding.Finding, error) {
	obstacles, err := Obstacles(ctx, tx, table, lock)
	if err != nil {
		return nil, err
	}
	paragraphs := []string{fmt.Sprintf("The table has %s (%s). %s is held for milliseconds, because only metadata changes. An attempt to get it "+
		"that has to wait gives way at once and is made again, so that the application queues behind it for a moment at most.",
		Rows(table.EstimatedRows), Bytes(float64(table.Bytes)), lock)}
	paragraphs = append(append(paragraphs, obstacles...), more...)
	return finding.New(fmt.Sprintf("%s takes %s lock for a moment", title, lock.withArticle()), finding.Paragraphs(paragraphs...)), nil
}

// Figures of a plan have two digits: they are estimates, and two plans of the same thing should read the same.

// Rounded returns the number with two significant digits.
func Rounded(n float64) float64 {
	if n < 1 || math.IsInf(n, 0) {
		return max(n, 0)
	}
	unit := math.Pow(10, math.Floor(math.Log10(n))-1)
	if unit < 1 {
		return math.Round(n)
	}
	return math.Round(n/unit) * unit
}

// Rows says how many rows there are about; a negative number is unknown.
func Rows(n float64) string {
	if n < 0 {
		return "an unknown number of rows"
	}
	if Rounded(n) == 1 {
		return "~1 row"
	}
	return "~" + humanize.Comma(int64(Rounded(n))) + " rows"
}

// Bytes says how many bytes there are about.
func Bytes(n float64) string {
	const step = 1024
	n = max(n, 0)
	unit := 1.0
	for n/unit >= step {
		unit *= step
	}
	return humanize.IBytes(uint64(Rounded(n/unit*10) / 10 * unit)) // tenths, so that 1.2 GiB stay 1.2
}

// Bounds of what a plan shows.
const (
	shownHolders = 2
	shownQuery   = 50
	// notableLag and notableGap are how far a standby is behind when a plan names it.
	notableLag = time.Second
	notableGap = 16 << 20 // bytes, one WAL segment
)

// Obstacles says who would make an apply wait for the lock if it came now, and which standbys are behind.
func Obstacles(ctx context.Context, tx pgx.Tx, table *pg.Table, lock Lock) (paragraphs []string, err error) {
	found, err := holders(ctx, tx, table.Tree, lock)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(h Holder) bool { return h.Age.Duration() < morePatience })
	if len(found) > 0 {
		var lines []string
		for _, h := range found[:min(len(found), shownHolders)] {
			lines = append(lines, h.brief())
		}
		if more := len(found) - shownHolders; more > 0 {
			lines = append(lines, fmt.Sprintf("and %d more", more))
		}
		paragraphs = append(paragraphs, "An apply would wait now for:\n"+finding.List(lines))
	}
	standbys, err := pg.Standbys(ctx, tx)
	if err != nil {
		return nil, err
	}
	var behind []string
	for _, s := range standbys {
		if text := lag(s); text != "" {
			behind = append(behind, text)
		}
	}
	if len(behind) > 0 {
		paragraphs = append(paragraphs, "Standbys are behind: "+strings.Join(behind, ", ")+".")
	}
	return paragraphs, nil
}

// brief describes the holder on two lines that fit a pull request's comment.
func (h Holder) brief() string {
	session := h.Session
	session.Query = ""
	if session.Age > 0 {
		session.Age = pg.Seconds(Rounded(float64(session.Age)))
	}
	text := session.String() + "\n    holds " + h.Mode
	if query := []rune(strings.Join(strings.Fields(h.Query), " ")); len(query) > 0 && h.Query != "<insufficient privilege>" {
		if len(query) > shownQuery {
			query = append(query[:shownQuery], []rune(" ...")...)
		}
		text += "; last query: " + string(query)
	}
	return text
}

// lag says how far a standby is behind, or "" when it keeps up or nobody may know.
func lag(s pg.Standby) string {
	var seconds, bytes float64
	if s.LagSeconds != nil {
		seconds = *s.LagSeconds
	}
	if s.LagBytes != nil {
		bytes = float64(*s.LagBytes)
	}
	if seconds < notableLag.Seconds() && bytes < notableGap {
		return ""
	}
	return fmt.Sprintf("%s by %s of WAL (%s)", s.Name, Bytes(bytes), time.Duration(Rounded(seconds)*float64(time.Second)))
}
