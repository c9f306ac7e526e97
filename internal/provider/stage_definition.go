package provider

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// model is the Terraform side of a stage.
type model interface{ common() *commonModel }

// definition says how one stage appears in Terraform. M is its model, S the stage, O what can be observed of it.
type definition[M any, S stage.Stage[O], O any] struct {
	// name is the resource type without the provider's prefix.
	name   string
	schema func(ctx context.Context) schema.Schema
	// known reports whether the plan says all that the stage depends on.
	known func(m *M) bool
	// validate checks what the configuration alone can tell, without a database; nil when the schema says it all.
	validate func(m *M) diag.Diagnostics
	// spec returns the stage that the model describes. prior is the model in the state, or nil. The ID may be empty.
	spec func(ctx context.Context, env *stage.Env, m, prior *M) (S, diag.Diagnostics)
	// identify returns the identity of a new stage.
	identify func(spec S) string
	// sameSpec reports whether two stages are the same, so that there is nothing to check or do.
	sameSpec func(a, b S) bool
	// plan sets the computed attributes of a planned model. It reports whether work is left from an earlier apply.
	plan func(m, prior *M, changed bool) (pending bool, diags diag.Diagnostics)
	// show writes what was observed into the model.
	show func(ctx context.Context, m *M, observed O) diag.Diagnostics
	// retune records what has changed besides what the stage does, when nothing is left to do, and returns what Read does. It may
	// be nil; then Apply does it.
	retune func(ctx context.Context, env *stage.Env, spec S) (*O, error)
	// applied says what is to be said of an Apply that succeeded; may be nil.
	applied func(ctx context.Context, env *stage.Env, spec S, observed O) []*finding.Finding
	// begun reports whether an Apply that failed has left something behind that the state must hold.
	begun func(observed O) bool
	// imported returns the attributes of an import that follow from the columns in its identifier. Read finds the rest.
	imported func(ctx context.Context, columns []string) (map[string]attr.Value, diag.Diagnostics)
	// describe names the stage at the start of a sentence.
	describe func(spec S) string
	// applyTimeout is the default for create and update. Interrupted work is never lost.
	applyTimeout time.Duration
}
