package main

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
)

// machine is what the figures were taken on.
type machine struct {
	Processor  string            `json:"processor"`
	Cores      int               `json:"cores"`
	MemoryMiB  int64             `json:"memory_mib"` // 0 if the system does not tell
	System     string            `json:"system"`
	PostgreSQL string            `json:"postgresql"`
	Settings   map[string]string `json:"settings"`
}

func describeMachine(version string) machine {
	m := machine{
		Processor: "processor", Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH,
		PostgreSQL: version, Settings: serverSettings,
	}
	if model, ok := lineOf("/proc/cpuinfo", "model name"); ok {
		m.Processor = model
	}
	if total, ok := lineOf("/proc/meminfo", "MemTotal"); ok {
		_, _ = fmt.Sscan(total, &m.MemoryMiB) // stays 0
		m.MemoryMiB /= 1024
	}
	return m
}

// lineOf returns the value of a "name: value" line of one of the system's own files.
func lineOf(file, name string) (string, bool) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", false // not Linux
	}
	for line := range strings.Lines(string(content)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

func (m machine) String() string {
	settings := make([]string, 0, len(m.Settings))
	for _, name := range slices.Sorted(maps.Keys(m.Settings)) {
		settings = append(settings, name+" = "+m.Settings[name])
	}
	memory := ""
	if m.MemoryMiB > 0 {
		memory = fmt.Sprintf(", %.0f GiB", float64(m.MemoryMiB)/1024)
	}
	return fmt.Sprintf("%s, %d cores%s, %s; PostgreSQL %s with %s", m.Processor, m.Cores, memory, m.System, m.PostgreSQL,
		strings.Join(settings, ", "))
}
