package provider

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/load"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// off switches a threshold off.
const off = "off"

// threshold is an attribute of throttle that bounds something.
type threshold struct {
	name string
	// of returns where its value belongs: a *time.Duration, *byteSize, *int64 or *share.
	of          func(l *load.Limits) any
	description string
}

// byteSize is written as 16MiB, share as 20%.
type (
	byteSize int64
	share    float64
)

// thresholds has one or two attributes for each signal, by the name that it has in reasons.
var thresholds = []threshold{
	{string(load.ReplicaLag), func(l *load.Limits) any { return &l.ReplicaLag }, "How far a standby may be behind in replay. Batches wait while one is further behind than this and than `replica_lag_bytes`; " +
		"`\"off\"` switches both off, unless `replica_lag_bytes` is set."},
	{string(load.ReplicaLag) + "_bytes", func(l *load.Limits) any { return (*byteSize)(&l.ReplicaLagBytes) }, "How much WAL a standby may have to replay; see `replica_lag`."},
	{string(load.SyncLag), func(l *load.Limits) any { return &l.SyncLag }, "How long a synchronous standby may take to write WAL down, for which every commit waits."},
	{string(load.Replicas), func(l *load.Limits) any { return &l.LostReplica }, "How long batches wait when a standby has gone."},
	{string(load.SlotRetained), func(l *load.Limits) any { return (*byteSize)(&l.SlotRetained) }, "How much WAL a replication slot may keep on the server's disk."},
	{string(load.ArchiveBacklog), func(l *load.Limits) any { return &l.ArchiveBacklog }, "How many WAL segments may wait to be archived."},
	{string(load.SnapshotAge), func(l *load.Limits) any { return &l.SnapshotAge }, "How long a transaction, a slot or a standby may keep vacuum from removing dead rows."},
	{string(load.DeadRows), func(l *load.Limits) any { return &l.DeadRows }, "How many rows of the table may wait for vacuum. Batches wait above this and above `dead_rows_share`; `\"off\"` switches " +
		"both off, unless `dead_rows_share` is set."},
	{string(load.DeadRows) + "_share", func(l *load.Limits) any { return (*share)(&l.DeadRowsShare) }, "How many rows may wait for vacuum, as a share of the live ones; see `dead_rows`."},
	{string(load.BlockedSessions), func(l *load.Limits) any { return &l.BlockedSessions }, "How long a client may wait for a lock of the backfill before batches get smaller."},
	{string(load.Checkpoints), func(l *load.Limits) any { return &l.Checkpoints }, "How many checkpoints in 10 minutes may be due to the amount of WAL before batches get smaller."},
}

// throttleAttribute describes the throttle. Each default stands in its description.
func throttleAttribute() schema.SingleNestedAttribute {
	defaults := load.Defaults()
	attributes := map[string]schema.Attribute{
		"queries": schema.MapAttribute{
			Optional: true, ElementType: types.StringType,
			Validators: []validator.Map{mapvalidator.SizeAtLeast(1), mapvalidator.KeysAre(stringvalidator.LengthAtLeast(1)), mapvalidator.ValueStringsAre(stringvalidator.LengthAtLeast(1))},
			MarkdownDescription: "Conditions of your own, by name: each a `SELECT` that gives one value. Batches wait while it is true, or a number above 0. They run about " +
				"once a second in a read-only transaction.",
		},
		"ignore_replicas": schema.SetAttribute{
			Optional: true, ElementType: types.StringType, Validators: []validator.Set{setvalidator.ValueStringsAre(stringvalidator.LengthAtLeast(1))},
			MarkdownDescription: "Application names of standbys whose lag does not count, such as one with `recovery_min_apply_delay`.",
		},
		"on_unknown": schema.StringAttribute{
			Optional: true, Validators: []validator.String{stringvalidator.OneOf(string(load.PauseOnUnknown), string(load.ContinueOnUnknown))},
			MarkdownDescription: fmt.Sprintf("What to do when a signal could not be read for 15 seconds: `%s`, which is the default, or `%s`.", load.PauseOnUnknown, load.ContinueOnUnknown),
		},
	}
	for _, t := range thresholds {
		attributes[t.name] = schema.StringAttribute{
			Optional: true, Validators: []validator.String{validThreshold{t}},
			MarkdownDescription: fmt.Sprintf("%s Such as `\"%s\"`, which is the default, or `\"off\"`.", t.description, showThreshold(t.of(&defaults))),
		}
	}
	return schema.SingleNestedAttribute{
		Optional: true, Attributes: attributes,
		MarkdownDescription: "Thresholds at which batches wait, or get smaller, until the server has caught up. What is left out has its default. The ledger's view `progress` " +
			"shows what they wait for. Mind the spelling: Terraform passes over names that it does not know here.",
	}
}

// throttleLimits returns what the attribute says, or nil for the defaults.
func throttleLimits(ctx context.Context, throttle types.Object) (*load.Limits, diag.Diagnostics) {
	if throttle.IsNull() || throttle.IsUnknown() {
		return nil, nil
	}
	var diags diag.Diagnostics
	limits, given := load.Defaults(), throttle.Attributes()
	text := func(name string) string {
		value, _ := given[name].(types.String) // The schema says so.
		return value.ValueString()
	}
	for _, t := range thresholds {
		if text(t.name) != "" {
			if err := readThreshold(t.of(&limits), text(t.name)); err != nil {
				diags.AddError(fmt.Sprintf("Threshold %s cannot be read", t.name), finding.Capitalize(err.Error())+".")
			}
		}
	}
	if lag := string(load.ReplicaLag); text(lag) == off && text(lag+"_bytes") == "" {
		limits.ReplicaLagBytes = 0
	}
	if dead := string(load.DeadRows); text(dead) == off && text(dead+"_share") == "" {
		limits.DeadRowsShare = 0
	}
	if choice := text("on_unknown"); choice != "" {
		limits.OnUnknown = load.OnUnknown(choice)
	}
	if ignored, ok := given["ignore_replicas"].(types.Set); ok {
		diags.Append(ignored.ElementsAs(ctx, &limits.IgnoreReplicas, false)...)
	}
	if queries, ok := given["queries"].(types.Map); ok {
		var byName map[string]string
		diags.Append(queries.ElementsAs(ctx, &byName, false)...)
		for _, name := range stage.SortedKeys(byName) {
			limits.Queries = append(limits.Queries, load.Query{Name: name, SQL: byName[name]})
		}
	}
	return &limits, diags
}

// readThreshold reads a threshold as users write it.
func readThreshold(into any, text string) (err error) {
	if text == off {
		text = ""
	}
	switch into := into.(type) {
	case *time.Duration:
		if *into = 0; text != "" {
			*into, err = time.ParseDuration(text)
		}
		if err != nil || *into < 0 || (*into == 0 && text != "") {
			return errors.New(`it must be a duration such as "10s" or "1m30s", or "off"`)
		}
	case *byteSize:
		var size uint64
		if text != "" {
			size, err = humanize.ParseBytes(text)
		}
		if *into = byteSize(size); err != nil || *into < 0 || (*into == 0 && text != "") {
			return errors.New(`it must be a number of bytes such as "16MiB" or "1.5GB", or "off"`)
		}
	case *int64:
		if *into = 0; text != "" {
			*into, err = strconv.ParseInt(text, 10, 64)
		}
		if err != nil || *into < 0 || (*into == 0 && text != "") {
			return errors.New(`it must be a whole number such as "42", or "off"`)
		}
	case *share:
		var percent float64
		if text != "" {
			number, isPercent := strings.CutSuffix(text, "%")
			if percent, err = strconv.ParseFloat(strings.TrimSpace(number), 64); !isPercent {
				err = strconv.ErrSyntax
			}
		}
		if *into = share(percent / 100); err != nil || (text != "" && (percent <= 0 || percent > 100)) {
			return errors.New(`it must be a percentage such as "20%", or "off"`)
		}
	default:
		return fmt.Errorf("a threshold cannot be of type %T", into)
	}
	return nil
}

// showThreshold writes a threshold as users do.
func showThreshold(of any) string {
	switch of := of.(type) {
	case *time.Duration:
		text := of.String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	case *byteSize:
		return strings.ReplaceAll(humanize.IBytes(uint64(*of)), " ", "") //nolint:gosec // thresholds are not negative
	case *share:
		return strconv.FormatFloat(100*float64(*of), 'g', -1, 64) + "%"
	case *int64:
		return strconv.FormatInt(*of, 10)
	}
	return ""
}

// validThreshold checks a threshold.
type validThreshold struct{ threshold }

func (validThreshold) Description(context.Context) string { return "must be a threshold, or off" }

func (v validThreshold) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v validThreshold) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	var scratch load.Limits
	err := readThreshold(v.of(&scratch), req.ConfigValue.ValueString())
	if req.ConfigValue.ValueString() == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, fmt.Sprintf("Threshold %s is %q", v.name, req.ConfigValue.ValueString()), finding.Capitalize(err.Error())+".")
	}
}
