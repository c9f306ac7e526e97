package provider

import (
	"context"
	"log/slog"

	"github.com/hashicorp/terraform-plugin-log/tflog"
)

// tflogHandler passes the log of the packages below, which know nothing of Terraform, on to Terraform's log.
type tflogHandler struct{ attributes []slog.Attr }

// Enabled leaves the choice of levels to Terraform.
func (h tflogHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle writes one record.
func (h tflogHandler) Handle(ctx context.Context, record slog.Record) error {
	fields := make(map[string]any, record.NumAttrs()+len(h.attributes))
	for _, a := range h.attributes {
		fields[a.Key] = a.Value.Resolve().String()
	}
	record.Attrs(func(a slog.Attr) bool {
		fields[a.Key] = a.Value.Resolve().String()
		return true
	})
	switch {
	case record.Level >= slog.LevelError:
		tflog.Error(ctx, record.Message, fields)
	case record.Level >= slog.LevelWarn:
		tflog.Warn(ctx, record.Message, fields)
	case record.Level >= slog.LevelInfo:
		tflog.Info(ctx, record.Message, fields)
	default:
		tflog.Debug(ctx, record.Message, fields)
	}
	return nil
}

// WithAttrs returns a handler that adds the attributes to every record.
func (h tflogHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return tflogHandler{append(append([]slog.Attr(nil), h.attributes...), attributes...)}
}

// WithGroup ignores the group: Terraform's log is flat.
func (h tflogHandler) WithGroup(string) slog.Handler { return h }
