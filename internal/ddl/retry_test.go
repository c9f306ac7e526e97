package ddl_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

func TestNoTimeToRetryIsNoEndlessRetry(t *testing.T) {
	db, runner, change := newRunner(t, 0)
	end := startReader(t, db)
	defer end()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := runner.Run(ctx, change)
	var f *finding.Finding
	if !errors.As(err, &f) {
		t.Errorf("Run = %v, want a finding after the first attempt", err)
	}
	if hasColumn(t, db) {
		t.Error("the column was added all the same")
	}
}
