package provider

import (
	"fmt"
	"maps"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/preflight"
)

// shape is what an object holds.
type shape = map[string]schema.Attribute

func textOf(description string) schema.Attribute {
	return schema.StringAttribute{Computed: true, MarkdownDescription: description}
}

func countOf(description string) schema.Attribute {
	return schema.Int64Attribute{Computed: true, MarkdownDescription: description}
}

func fractionOf(description string) schema.Attribute {
	return schema.Float64Attribute{Computed: true, MarkdownDescription: description}
}

func whether(description string) schema.Attribute {
	return schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether " + description}
}

func textsOf(description string) schema.Attribute {
	return schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: description}
}

func objectOf(description string, of shape) schema.Attribute {
	return schema.SingleNestedAttribute{Computed: true, MarkdownDescription: description, Attributes: of}
}

func objectsOf(description string, of shape) schema.Attribute {
	return schema.ListNestedAttribute{Computed: true, MarkdownDescription: description, NestedObject: schema.NestedAttributeObject{Attributes: of}}
}

// preflightHazards lists the types for documentation.
func preflightHazards() string {
	names := make([]string, len(preflight.HazardTypes))
	for i, t := range preflight.HazardTypes {
		names[i] = "`" + string(t) + "`"
	}
	return strings.Join(names, ", ")
}

// preflightLimits says from when on something counts.
func preflightLimits() string {
	l := preflight.DefaultLimits
	return fmt.Sprintf("`long_transaction` is one of %.0f minutes, `large_table` one of %s rows or %s, `many_dead_rows` a fifth of the rows and at least %s, "+
		"`few_column_slots` fewer than %d, `standby_behind` a lag of %.0f seconds and %s, `slot_retains_wal` %s of WAL.",
		l.LongTransaction.Minutes(), humanize.Comma(l.LargeRows), bytesOf(l.LargeBytes), humanize.Comma(l.DeadRows), l.ColumnSlots,
		l.StandbyLag.Seconds(), bytesOf(l.StandbyLagBytes), bytesOf(l.RetainedBytes))
}

func bytesOf(n int64) string { return humanize.IBytes(uint64(n)) } //nolint:gosec // a positive constant

func preflightSchema() schema.Schema {
	all := shape{
		"schema": schema.StringAttribute{
			Optional: true, Computed: true, Validators: identifier,
			MarkdownDescription: "Schema of the table, exactly as it is written in the catalogs. The default is `public`.",
		},
		"table": schema.StringAttribute{
			Required: true, Validators: identifier,
			MarkdownDescription: "Name of the table, without quotes, exactly as it is written in the catalogs.",
		},
		"ready": whether("nothing would make a statement wait now that needs `ACCESS EXCLUSIVE` on the table, and the server is no standby. Transactions that " +
			"have been open for less than a second, and an autovacuum that gives way, do not count. `false` while the database cannot be asked."),
		"blockers": textsOf("Who would make it wait, on a line each."),
		"hazards": objectsOf("What would hurt a change of the table. "+preflightLimits(), shape{
			"type":    textOf("Stable name of the kind: " + preflightHazards() + "."),
			"message": textOf("What was found, and what it means."),
		}),
		"unseen": textsOf("What the role could not see, in sentences, each with the statement that would let it. What is named here is empty or null elsewhere, " +
			"and no hazard is found in it."),
		"summary": textOf("Size, hazards and what was not seen in a few lines of plain text, for the `error_message` of a `check`."),
	}
	maps.Copy(all, preflightTable())
	maps.Copy(all, preflightObjects())
	maps.Copy(all, preflightActivity())
	return schema.Schema{
		MarkdownDescription: "What a DBA looks up before touching a live table: size, columns, indexes, triggers, replication, who holds locks on it, and what of " +
			"that would hurt a change. One short look at catalogs and statistics, which costs the same on a large table. It changes nothing.",
		Attributes: all,
	}
}

func preflightTable() shape {
	return shape{
		"server": objectOf("The server; null, like all that follows, while the database cannot be asked. Lists are empty then.", shape{
			"version":        textOf("Its version, such as `17.2`."),
			"version_number": countOf("Its version as a number, such as `170002`."),
			"wal_level":      textOf("`minimal`, `replica` or `logical`."),
			"standby":        whether("it is a standby, on which nothing can be changed."),
		}),
		"role": objectOf("The role of the provider, and what it may do.", shape{
			"name":                             textOf("The role in whose name statements run."),
			"session_user":                     textOf("The user who logged in; another one than `name` when the provider has a `role`."),
			"owns_table":                       whether("it is the owner or a member of it, which `ALTER TABLE` asks for."),
			"may_select":                       whether("it may read the whole table."),
			"may_update":                       whether("it may update the whole table."),
			"monitors":                         whether("it sees other roles' sessions and how far standbys are behind, as members of `pg_monitor` do."),
			"may_set_session_replication_role": whether("the user who logged in may set it, which a backfill with `fire_triggers = false` does. Before PostgreSQL 15 that is only known of superusers."),
			"row_security_applies":             whether("policies may hide rows from it. A backfill refuses to run then."),
		}),
		"owner":        textOf("Owner of the table."),
		"kind":         textOf("`table`, `partitioned table` or `partition`."),
		"partition_of": textOf("Its parent, if it is a partition."),
		"partitions":   countOf("Relations below a partitioned table that store rows."),
		"inherits":     textsOf("Tables from which an ordinary table inherits."),
		"children":     countOf("Tables that inherit from an ordinary table, at any distance."),
		"unlogged":     whether("it is unlogged: its rows are lost in a crash and not on standbys."),
		"size": objectOf("How large it is and how it is kept, over all relations that store its rows.", shape{
			"estimated_rows":   countOf("Rows, as the last vacuum or analyze estimated them; null when there was none."),
			"dead_rows":        countOf("Row versions that vacuum has not removed yet, as the server counts them."),
			"heap_bytes":       countOf("Bytes of the rows themselves."),
			"index_bytes":      countOf("Bytes of all indexes."),
			"toast_bytes":      countOf("Bytes of values that are kept outside of the rows."),
			"stale":            whether("the bytes are those of the last vacuum, because the table is locked."),
			"row_bytes":        fractionOf("Bytes of the values of an average row; null without statistics."),
			"rows_per_page":    fractionOf("Rows in an average page; null without statistics."),
			"fillfactor":       countOf("Percentage to which pages are filled by inserts; the lowest of all partitions."),
			"frozen_age":       countOf("Age of the oldest transaction number in the table, in transactions."),
			"autovacuum":       whether("autovacuum is on, for the server and all relations."),
			"last_vacuum":      textOf("When it was last vacuumed by hand (RFC 3339). Of several relations, as in the following, the one that waits longest counts; null when one never was."),
			"last_autovacuum":  textOf("When autovacuum last vacuumed it (RFC 3339)."),
			"last_analyze":     textOf("When it was last analyzed by hand (RFC 3339)."),
			"last_autoanalyze": textOf("When autovacuum last analyzed it (RFC 3339)."),
		}),
		"column_slots_left": countOf("Columns that can still be added: of 1600 numbers, dropped columns keep theirs."),
		"primary_key":       textsOf("Columns of the primary key."),
		"replica_identity":  textOf("`default`, `index`, `full` or `nothing`."),
		"row_security":      textOf("`off`, `on` or `forced`, which is for the owner as well."),
	}
}

func preflightObjects() shape {
	foreignKey := shape{
		"name":       textOf("Its name."),
		"table":      textOf("The other table."),
		"validated":  whether("all rows are known to satisfy it."),
		"definition": textOf("Its definition."),
	}
	return shape{
		"columns": objectsOf("The columns, in their order.", shape{
			"name":          textOf("Its name."),
			"type":          textOf("Its type."),
			"not_null":      whether("it is `NOT NULL`."),
			"default":       textOf("Expression of its default; null when there is none."),
			"identity":      textOf("`always` or `by default` for an identity column; empty otherwise."),
			"generated":     textOf("`stored` or `virtual` for a generated column; empty otherwise."),
			"average_bytes": countOf("Average bytes of its values that are not NULL; null without statistics."),
			"null_fraction": fractionOf("Share of NULLs, from 0 to 1; null without statistics."),
			"indexed":       whether("an index has to do with it: as a key, in an expression or in its condition. An update of such a column is never HOT."),
		}),
		"indexes": objectsOf("The indexes.", shape{
			"name":       textOf("Its name."),
			"definition": textOf("Statement that creates it; null while the table is locked."),
			"unique":     whether("it is unique."),
			"primary":    whether("it is that of the primary key."),
			"valid":      whether("queries can use it. One that is not valid was left behind by a `CREATE INDEX CONCURRENTLY`, or is being built."),
			"bytes":      countOf("Its size at the last vacuum or analyze, with those of partitions."),
			"scans":      countOf("How often it was used since statistics were reset, with those of partitions."),
		}),
		"constraints": objectsOf("Constraints that are no foreign keys. `NOT NULL` is listed only if it is not validated.", shape{
			"name":       textOf("Its name."),
			"type":       textOf("`check`, `primary key`, `unique`, `exclude`, `not null` or `trigger`."),
			"validated":  whether("all rows are known to satisfy it."),
			"definition": textOf("Its definition."),
		}),
		"foreign_keys":  objectsOf("Foreign keys of the table.", foreignKey),
		"referenced_by": objectsOf("Foreign keys of other tables, or its own, that refer to it.", foreignKey),
		"triggers": objectsOf("Triggers that somebody made on the table or its partitions.", shape{
			"name":       textOf("Its name."),
			"function":   textOf("The function that it calls."),
			"enabled":    textOf("`origin` is the usual state, `always` fires also under `session_replication_role = replica`, `replica` only then, and `disabled` never."),
			"definition": textOf("Statement that creates it, with when it fires."),
			"managed":    whether("it belongs to a `postgres_column_sync`."),
		}),
		"policies": objectsOf("Policies of row security.", shape{
			"name":       textOf("Its name."),
			"command":    textOf("`SELECT`, `INSERT`, `UPDATE`, `DELETE` or `ALL`."),
			"permissive": whether("it is permissive; a restrictive one must hold in addition."),
			"roles":      textsOf("Roles that it is for; `PUBLIC` is everybody."),
			"using":      textOf("Condition for rows that exist."),
			"check":      textOf("Condition for rows that are written."),
		}),
		"dependants": objectsOf("Views that use the table, and functions whose text mentions it.", shape{
			"type":     textOf("`view`, `materialized view` or `function`."),
			"identity": textOf("Its name."),
		}),
		"publications": objectsOf("Publications that the table is part of.", shape{
			"name":    textOf("Its name."),
			"updates": whether("it publishes updates, which fail on a table without a replica identity."),
		}),
		"stages": objectsOf("Stages that the ledger has recorded for the table, the oldest first.", shape{
			"type":    textOf("Type of the resource, such as `postgres_batched_backfill`."),
			"id":      textOf("The `id` of the resource."),
			"status":  textOf("`running`, `complete`, or `forgotten` for a backfill whose resource was destroyed."),
			"retired": whether("a contract has taken a column away from it."),
		}),
	}
}

func preflightActivity() shape {
	session := func(more shape) shape {
		of := shape{
			"pid":              countOf("Its process; 0 for a prepared transaction."),
			"user":             textOf("Its user; empty for a background process."),
			"application_name": textOf("What it calls itself, or the identifier of a prepared transaction."),
			"state":            textOf("Such as `active` or `idle in transaction`; empty when the role may not see it."),
			"query":            textOf("Its last statement with the constants in it, cut at 200 characters."),
			"age_seconds":      fractionOf("Seconds since its transaction began; null when the role may not see it."),
		}
		maps.Copy(of, more)
		return of
	}
	return shape{
		"replication_slots": objectsOf("All replication slots of the server.", shape{
			"name":           textOf("Its name."),
			"type":           textOf("`physical` or `logical`."),
			"database":       textOf("Database of a logical slot."),
			"active":         whether("somebody uses it now."),
			"wal_status":     textOf("`reserved`, `extended`, `unreserved` or `lost`."),
			"retained_bytes": countOf("Bytes of WAL that the server keeps for it."),
			"headroom_bytes": countOf("Bytes that can be written until it loses what it needs; null without a limit."),
		}),
		"standbys": objectsOf("Receivers of replication.", shape{
			"name":        textOf("What it calls itself."),
			"state":       textOf("Such as `streaming`; null when the role may not see it."),
			"sync_state":  textOf("`async`, `sync`, `quorum` or `potential`; null when the role may not see it."),
			"lag_bytes":   countOf("Bytes of WAL that it has not replayed; null when the role may not see it."),
			"lag_seconds": fractionOf("Seconds that it is behind, as the server last measured them; null when it did not, or the role may not see it."),
		}),
		"locks": objectsOf("Locks on the table, its partitions and its children, those that are held first; at most 200.", session(shape{
			"mode":         textOf("Its mode by its name in `pg_locks`, such as `AccessShareLock`."),
			"granted":      whether("it is held, and not waited for."),
			"wait_seconds": fractionOf("Seconds that the session has waited for it; null when it holds it."),
			"relation":     textOf("What is locked."),
		})),
		"longest_transaction": objectOf("The transaction in this database that has been open for the longest time; null when there is none that the role sees.", session(nil)),
		"oldest_snapshot":     countOf("How many transactions ago the oldest snapshot or transaction of a session in this database began: vacuum removes nothing that died since."),
		"prepared_transactions": objectsOf("Prepared transactions of the database.", shape{
			"gid":         textOf("Its identifier."),
			"owner":       textOf("Who prepared it."),
			"age_seconds": countOf("Seconds since it was prepared."),
		}),
		"vacuums": objectsOf("Every `VACUUM` and `ANALYZE` that works on the table now.", shape{
			"pid":        countOf("Its process."),
			"command":    textOf("`vacuum` or `analyze`."),
			"phase":      textOf("What it does now; null when the role may not see it."),
			"percent":    fractionOf("Share of the table that it has scanned, from 0 to 100; null when the role may not see it."),
			"auto":       whether("autovacuum began it."),
			"wraparound": whether("it prevents wraparound, and gives way to nobody."),
			"relation":   textOf("What it works on."),
		}),
		"index_builds": objectsOf("Every `CREATE INDEX` and `REINDEX` that works on the table now.", shape{
			"pid":     countOf("Its process."),
			"index":   textOf("The index; null when the role may not see it."),
			"phase":   textOf("What it does now; null when the role may not see it."),
			"percent": fractionOf("Share of its present phase, from 0 to 100; null when the role may not see it."),
		}),
	}
}
