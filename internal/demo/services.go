package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// servicePause keeps the load at about a thousand transactions a second, so that two cores have room for the rest.
const servicePause = 6 * time.Millisecond

// serviceNames are the services, by their application_name.
var serviceNames = []string{"accounts", "billing", "crm", "mailing", "orders", "reports", "search", "support"}

// services write to the table all the time. Each of them is replaced by its next release without a stop.
type services struct {
	workloads map[string]*pgtest.Users // by service
	writers   *pgtest.Writers

	// failed counts beside the writers' own statistics, which would lose an error between being read and being reset.
	failed       atomic.Int64
	transactions int64
	longest      time.Duration
}

// startServices does not end them with ctx: they go on until Terraform has ended.
func startServices(ctx context.Context, database *pgtest.Database) (*services, error) {
	s := &services{workloads: make(map[string]*pgtest.Users)}
	for _, name := range serviceNames {
		workload, err := pgtest.NewUsers(ctx, database.Owner, pgtest.OldStyle)
		if err != nil {
			return nil, err
		}
		workload.Differs = true // so that whoever overwrites what a service wrote is found out
		s.workloads[name] = workload
	}
	var err error
	s.writers, err = pgtest.StartWriters(context.WithoutCancel(ctx), database.ConnString(), pgtest.WriterOptions{
		Transaction: s.transaction,
		Names:       serviceNames,
		Pause:       servicePause,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// release deploys another release of some services.
func (s *services) release(ctx context.Context, generation pgtest.Generation, names ...string) error {
	for _, name := range names {
		if err := s.workloads[name].SetGeneration(ctx, generation); err != nil {
			return err
		}
	}
	return nil
}

func (s *services) transaction(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	err := s.workloads[conn.Config().RuntimeParams["application_name"]].Transaction(ctx, conn, random)
	if err != nil {
		s.failed.Add(1)
	}
	return err
}

// lap returns what the services did and felt since the last lap.
func (s *services) lap() pgtest.Stats {
	stats := s.writers.Stats()
	s.writers.ResetStats()
	s.transactions += stats.Transactions
	s.longest = max(s.longest, stats.Max)
	return stats
}

func (s *services) stop() { s.writers.Stop() }

// describe renders statistics as one line.
func describe(stats pgtest.Stats) string {
	return fmt.Sprintf("%s transactions, %s a second, %s, p99 %s, longest stall %s",
		humanize.Comma(stats.Transactions),
		humanize.Comma(int64(float64(stats.Transactions)/stats.Elapsed.Seconds())),
		plural(stats.Errors, "error"), brief(stats.P99), brief(stats.Max))
}

// brief renders a duration with the precision that a reader can use.
func brief(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

func plural(count int64, noun string) string {
	if count != 1 {
		noun += "s"
	}
	return humanize.Comma(count) + " " + noun
}
