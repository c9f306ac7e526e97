package ddl

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Exec runs one statement of a change. When the server refuses it, the finding says so of the object, "Table public.users",
// and shows the statement. Contention is left as it is, because the Runner tries again.
func Exec(ctx context.Context, tx pgx.Tx, object, sql string) error {
	_, err := tx.Exec(ctx, sql)
	var e *pgconn.PgError
	if err == nil || !errors.As(err, &e) || pg.IsContention(err) || ctx.Err() != nil {
		return err
	}
	detail := fmt.Sprintf("The server says: %s.", e.Message)
	if e.Detail != "" {
		detail += "\n\n" + finding.Indent(e.Detail)
	}
	return finding.New(object+" was not changed",
		finding.Paragraphs(detail, "The statement was:\n\n"+finding.Indent(sql), "SQLSTATE "+e.Code)).Because(err)
}
