package main

import (
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// The ways that are compared do the same to the same rows.
func TestTheTriggersDoTheSame(t *testing.T) {
	database := pgtest.NewDatabase(t)
	for _, way := range []string{withNothing, withSync, withPair} {
		if err := prepareSubject(t.Context(), database, way); err != nil {
			t.Fatal(err)
		}
		if _, err := measure(t.Context(), database, works[0].sql, 10); err != nil {
			t.Fatal(err)
		}
		want := int64(10)
		if way == withNothing {
			want = 0
		}
		if got := pgtest.QueryRow[int64](t, database, `SELECT count(*) FROM subject WHERE label = upper(name)`); got != want {
			t.Errorf("with %s, %d rows have a label, want %d", way, got, want)
		}
	}
}
