package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// untilInterrupted returns a context that ends with the first signal, so that everything is put away in order. A second
// one exits at once. A reader of our output that goes away, as with `make demo | head`, counts as the first.
func untilInterrupted(parent context.Context, d *demo) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		<-signals
		cancel()
		for again := range signals {
			if again != syscall.SIGPIPE {
				d.rubbish.clear()
				os.Exit(interruptedStatus)
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}

// rubbish is what would stay behind when the demo exits at once. The server is not part of it: its watchdog sees to that.
type rubbish struct {
	mu      sync.Mutex
	process *tfcli.Process
	folders []string
}

func (r *rubbish) running(process *tfcli.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = process
}

func (r *rubbish) folder(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.folders = append(r.folders, path)
}

// clear ignores errors: there is nobody left to tell.
func (r *rubbish) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process != nil {
		_ = r.process.KillAll()
	}
	for _, folder := range r.folders {
		_ = os.RemoveAll(folder)
	}
}
