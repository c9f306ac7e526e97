package provider

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

// validWindow checks a window as a whole.
type validWindow struct{}

func (validWindow) Description(context.Context) string {
	return "must be a window of time that is not empty"
}
func (v validWindow) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

// ValidateObject leaves values that are not known yet to the apply.
func (validWindow) ValidateObject(ctx context.Context, req validator.ObjectRequest, resp *validator.ObjectResponse) {
	if req.ConfigValue.IsNull() || !allKnown(req.ConfigValue) {
		return
	}
	var w backfillWindow
	diags := req.ConfigValue.As(ctx, &w, basetypes.ObjectAsOptions{})
	if resp.Diagnostics.Append(diags...); diags.HasError() {
		return
	}
	if _, err := w.parse(ctx); err != nil {
		addErrorsAt(&resp.Diagnostics, req.Path, err)
	}
}

// durationBetween checks a duration; most is 0 for no bound.
type durationBetween struct{ least, most time.Duration }

func (v durationBetween) Description(context.Context) string {
	if v.most == 0 {
		return fmt.Sprintf("must be at least %s", v.least)
	}
	return fmt.Sprintf("must be between %s and %s", v.least, v.most)
}

func (v durationBetween) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

// ValidateString leaves what is no duration to the type.
func (v durationBetween) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	d, err := time.ParseDuration(req.ConfigValue.ValueString())
	if err != nil || (d >= v.least && (v.most == 0 || d <= v.most)) {
		return
	}
	resp.Diagnostics.AddAttributeError(req.Path, fmt.Sprintf("Attribute %s is %s", req.Path, req.ConfigValue.ValueString()),
		fmt.Sprintf("It %s.", v.Description(ctx)))
}

// shareOfTime checks a share. A worker that may be busy for none of the time would rest for ever.
type shareOfTime struct{}

func (shareOfTime) Description(context.Context) string               { return "must be above 0 and at most 1" }
func (v shareOfTime) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v shareOfTime) ValidateFloat64(ctx context.Context, req validator.Float64Request, resp *validator.Float64Response) {
	if share := req.ConfigValue.ValueFloat64(); !req.ConfigValue.IsNull() && !req.ConfigValue.IsUnknown() && (share <= 0 || share > 1) {
		resp.Diagnostics.AddAttributeError(req.Path, fmt.Sprintf("Attribute %s is %s", req.Path, strconv.FormatFloat(share, 'g', -1, 64)),
			fmt.Sprintf("It %s: the share of the time that a worker may be busy.", v.Description(ctx)))
	}
}

// addErrorsAt says of an attribute what is wrong with it.
func addErrorsAt(diags *diag.Diagnostics, at path.Path, err error) {
	for _, f := range finding.All(err, fmt.Sprintf("Attribute %s cannot be read", at)) {
		diags.AddAttributeError(at, f.Summary, f.Detail)
	}
}
