package preflight

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Publication is a publication that the table is part of.
type Publication struct {
	Name string
	// Updates means that it publishes updates, which fail on a table without a replica identity.
	Updates bool
}

// Slot is a replication slot of the server.
type Slot struct {
	Name     string
	Type     string
	Database *string
	Active   bool
	// Status is wal_status of pg_replication_slots.
	Status *string
	// RetainedBytes is how much WAL is kept for it.
	RetainedBytes *int64
	// HeadroomBytes is how much more may be written until it loses what it needs; nil is without a limit.
	HeadroomBytes *int64
}

// Standby is a receiver of replication.
type Standby = pg.Standby

// readPublications goes by the catalogs alone; the view pg_publication_tables opens each table. A publication of a parent
// covers its partitions.
func (r *Report) readPublications(ctx context.Context, tx pgx.Tx, t *target) (err error) {
	bySchema := "false"
	if r.Server.Number >= 150000 {
		bySchema = `EXISTS (SELECT FROM pg_publication_namespace s JOIN pg_class c ON c.relnamespace = s.pnnspid
		                     WHERE s.pnpubid = p.oid AND c.oid IN (SELECT oid FROM family))`
	}
	r.Publications, err = collect[Publication](ctx, tx, `
		WITH RECURSIVE above(oid) AS (
		  SELECT $1::oid
		  UNION
		  SELECT i.inhparent FROM above JOIN pg_inherits i ON i.inhrelid = above.oid JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
		), family AS (SELECT oid FROM above UNION SELECT unnest($2::oid[]))
		SELECT p.pubname, p.pubupdate FROM pg_publication p
		 WHERE p.puballtables
		    OR EXISTS (SELECT FROM pg_publication_rel l WHERE l.prpubid = p.oid AND l.prrelid IN (SELECT oid FROM family))
		    OR `+bySchema+`
		 ORDER BY 1`, t.oid, t.tree)
	return err
}

func (r *Report) readSlots(ctx context.Context, tx pgx.Tx, _ *target) (err error) {
	r.Slots, err = collect[Slot](ctx, tx, `
		SELECT s.slot_name, s.slot_type, s.database, s.active, s.wal_status, greatest(`+pg.Position+` - s.restart_lsn, 0)::bigint, s.safe_wal_size
		  FROM pg_replication_slots s ORDER BY 1`)
	return err
}

func (r *Report) readStandbys(ctx context.Context, tx pgx.Tx, _ *target) (err error) {
	r.Standbys, err = pg.Standbys(ctx, tx)
	return err
}
