package ledger_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// A column that was dropped and added again has another number, and the ledger follows.
func TestRenumber(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewDatabase(t))
	ensure(t, db)
	var got []string
	inTx(t, db, func(tx pgx.Tx) error {
		for _, s := range []*ledger.Stage{
			{Kind: ledger.ColumnExpand, Key: "a", TableOID: 7, Spec: json.RawMessage("{}"), Writes: []int16{2, 3}, Undo: json.RawMessage(`{"x": {"Attnum": 2, "Default": ""}, "y": {"Attnum": 3}}`)},
			{Kind: ledger.BatchedBackfill, Key: "b", TableOID: 7, Spec: json.RawMessage("{}"), Reads: []int16{1, 2, 4}, Writes: []int16{3}},
			{Kind: ledger.BatchedBackfill, Key: "c", TableOID: 8, Spec: json.RawMessage("{}"), Reads: []int16{2}},
		} {
			s.Status = ledger.Complete
			if err := theLedger.Put(t.Context(), tx, s); err != nil {
				return err
			}
		}
		if err := theLedger.Renumber(t.Context(), tx, 7, []int16{2, 4}, []int16{9, 10}); err != nil {
			return err
		}
		for _, table := range []uint32{7, 8} {
			stages, err := theLedger.StagesOf(t.Context(), tx, table)
			if err != nil {
				return err
			}
			for _, s := range stages {
				got = append(got, fmt.Sprintf("%s %v %v %s", s.Key, s.Reads, s.Writes, s.Undo))
			}
		}
		return nil
	})
	want := []string{
		`a [] [9 3] {"x": {"Attnum": 9, "Default": ""}, "y": {"Attnum": 3}}`,
		`b [1 9 10] [3] {}`,
		`c [2] [] {}`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
