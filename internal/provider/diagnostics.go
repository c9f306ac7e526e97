package provider

import (
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

// addErrors turns an error, which may hold several findings, into diagnostics. One that is no finding gets the summary.
func addErrors(diags *diag.Diagnostics, err error, summary string) {
	for _, f := range finding.All(err, summary) {
		if p, ok := attributePath(f.Attribute); ok {
			diags.AddAttributeError(p, f.Summary, f.Detail)
		} else {
			diags.AddError(f.Summary, f.Detail)
		}
	}
}

// addWarnings turns findings into warnings.
func addWarnings(diags *diag.Diagnostics, findings []*finding.Finding) {
	for _, f := range findings {
		if f != nil {
			diags.AddWarning(f.Summary, f.Detail)
		}
	}
}

// attributePath turns {"columns", "first_name", "type"} into a path: an attribute, a key in its map, an attribute of
// the element.
func attributePath(names []string) (path.Path, bool) {
	if len(names) == 0 {
		return path.Empty(), false
	}
	p := path.Root(names[0])
	if len(names) > 1 {
		p = p.AtMapKey(names[1])
	}
	if len(names) > 2 {
		p = p.AtName(names[2])
	}
	return p, true
}
