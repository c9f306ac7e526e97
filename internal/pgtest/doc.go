// Package pgtest starts throwaway PostgreSQL servers of any supported major, gives each test its own database, runs
// live writers against it, and injects faults on the wire. Everything but testing.go works without a test, so that a
// demonstration can use it too.
package pgtest
