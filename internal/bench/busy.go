package main

import (
	"os"
	"strconv"
	"strings"
)

// machineTicks are the sums of the machine's processors since it started.
type machineTicks struct{ busy, all int64 }

// machineTime reads them (proc_stat(5) of Linux). Elsewhere they are 0.
func machineTime() (t machineTicks) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t
	}
	first, _, _ := strings.Cut(string(content), "\n")
	// user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user.
	for i, field := range strings.Fields(first) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || i > 8 {
			continue
		}
		t.all += n
		if i != 4 && i != 5 {
			t.busy += n
		}
	}
	return t
}

func (t machineTicks) busySince(before machineTicks) float64 {
	if t.all == before.all {
		return 0
	}
	return float64(t.busy-before.busy) / float64(t.all-before.all)
}
