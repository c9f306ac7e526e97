package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// checkWriters refuses while somebody writes the columns. What the syncs have noted counts, whatever the user says. Without
// the user's word, they must have watched for long enough.
func (s *Spec) checkWriters(ctx context.Context, tx pgx.Tx, env *stage.Env, numbers []int16, keepers []*keeper) error {
	if !s.WritersMigrated {
		for i, name := range s.Columns {
			watched := slices.ContainsFunc(keepers, func(k *keeper) bool {
				return slices.Contains(k.record.Reads, numbers[i]) || slices.Contains(k.record.Writes, numbers[i])
			})
			planned := s.QuietFor == 0 && env.Planned.Synced(s.Table, name)
			if !watched && !planned {
				return s.writersNotMigrated(name)
			}
		}
	}
	for _, k := range keepers {
		since, now, err := env.Ledger.Watched(ctx, tx, k.record.ID)
		if err != nil {
			return err
		}
		noted, err := s.notedWriters(ctx, tx, env, k, now)
		if err != nil {
			return err
		}
		if len(noted) > 0 {
			return s.stillWritten(noted, now)
		}
		if !s.WritersMigrated && now.Sub(since) < s.QuietFor {
			return s.notWatchedLong(k, since, now)
		}
	}
	return nil
}

// notedWriters returns who wrote the side that goes, and not the other one, within QuietFor.
func (s *Spec) notedWriters(ctx context.Context, tx pgx.Tx, env *stage.Env, k *keeper, now time.Time) ([]ledger.Writer, error) {
	writers, err := env.Ledger.Writers(ctx, tx, []string{k.record.Key})
	if err != nil {
		return nil, err
	}
	sides := make(map[string]bool)
	for _, column := range s.Columns {
		if slices.Contains(k.spec.New(), column) {
			sides["new"] = true
		} else {
			sides["old"] = true
		}
	}
	return slices.DeleteFunc(writers, func(w ledger.Writer) bool {
		ignored := slices.Contains(s.Ignore, w.ApplicationName) || slices.Contains(s.Ignore, w.Role)
		quiet := s.QuietFor
		if quiet > 0 {
			quiet += ledger.NoteLag
		}
		return ignored || !sides[w.Side] || now.Sub(w.LastSeen) >= quiet
	}), nil
}

func (s *Spec) writersNotMigrated(column string) error {
	return finding.New(fmt.Sprintf("Nothing says that columns of %s are no longer used", s.describe()),
		fmt.Sprintf("A service that still names %s gets errors as soon as it is away, and nothing keeps both shapes equal meanwhile. When every "+
			"service writes and reads only the new columns, say so:\n\n  writers_migrated = true\n\nor let a postgres_column_sync keep both "+
			"shapes equal. It notes who still writes the old one, and the contract goes ahead when nobody has done so for quiet_for.", column)).
		At("writers_migrated")
}

func (s *Spec) stillWritten(writers []ledger.Writer, now time.Time) error {
	lines := make([]string, len(writers))
	var names []string
	for i, w := range writers {
		name := w.ApplicationName
		if name == "" {
			name = w.Role
		}
		if !slices.Contains(names, fmt.Sprintf("%q", name)) {
			names = append(names, fmt.Sprintf("%q", name))
		}
		address := "a local socket"
		if w.Address != nil {
			address = w.Address.Addr().String()
		}
		lines[i] = fmt.Sprintf("application %q, role %s, from %s, last seen %s, first seen %s", w.ApplicationName, w.Role, address,
			ago(now.Sub(w.LastSeen)), ago(now.Sub(w.FirstSeen)))
	}
	return finding.New(fmt.Sprintf("Columns of %s are still written by %s", s.describe(), finding.Count(len(names), "service")),
		fmt.Sprintf("Within %s, these have written rows old style, without the new columns:\n%s\n\nAfter the contract they would get errors. Move "+
			"them to the new columns and apply %s after their last write. If they do not matter:\n\n  ignore = [%s]\n\nNotes do not "+
			"count with\n\n  quiet_for = \"0s\"", s.QuietFor, finding.List(lines), s.QuietFor, strings.Join(names, ", "))).At("quiet_for")
}

func (s *Spec) notWatchedLong(k *keeper, since, now time.Time) error {
	return finding.New(fmt.Sprintf("Writers of %s were watched for %s of %s only", s.describe(), brief(now.Sub(since)), s.QuietFor),
		fmt.Sprintf("The sync %s watches since %s and has noted nobody who writes old style. A job that runs seldom may still come. An apply can go "+
			"ahead from %s on.\n\nIf every service is known to write only the new columns, say so:\n\n  writers_migrated = true\n\nor ask for "+
			"less with quiet_for.", k.record.Key, since.UTC().Format(time.RFC3339), since.Add(s.QuietFor).UTC().Format(time.RFC3339))).At("quiet_for")
}

// ago says how long something is past.
func ago(d time.Duration) string { return brief(d) + " ago" }

// brief renders a duration in its largest unit.
func brief(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// quotedList renders names as an HCL list has them.
func quotedList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(quoted, ", ")
}
