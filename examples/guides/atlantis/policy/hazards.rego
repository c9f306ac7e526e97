# Refuses plans of staged column changes by the hazards that they have. Atlantis runs it on the JSON of each plan.
package main

import data.approved

# Hazards for which an approval is needed, in any stage.
needs_approval := {"table_rewrite", "deletes_data", "deletes_archive", "skips_triggers"}

# Hazards that are shown, and stop nothing.
deserves_a_warning := {"overwrites_data", "rejects_writes", "skips_gate"}

# A contract ends the change for every service. So its lock is approved by someone who knows that they have moved.
contract_needs_approval := {"access_exclusive_lock"}

deny contains msg if {
	some change in stages
	some hazard in new_hazards(change)
	needs(change.type, hazard.type)
	not is_approved(change.address, hazard.type)
	msg := sprintf("%s: %s is not approved. %s\n%s", [change.address, hazard.type, hazard.message, statements(change, hazard.type)])
}

# Terraform says nothing of what a destroy will run. That of an expand drops columns, and whatever services wrote to them.
deny contains msg if {
	some change in stages
	change.type == "postgres_column_expand"
	"delete" in change.change.actions
	not is_approved(change.address, "destroy")
	columns := concat(", ", sort(object.keys(change.change.before.columns)))
	msg := sprintf("%s: destroying it is not approved. It drops columns of %s: %s", [change.address, change.change.before.table, columns])
}

# A rule cannot judge what is not known. That is so when a table's name comes from a resource that does not exist yet.
deny contains msg if {
	some change in stages
	object.get(change.change, ["after_unknown", "hazards"], false) == true
	msg := sprintf("%s: its hazards are not known at plan time. Apply first what it depends on", [change.address])
}

warn contains msg if {
	some change in stages
	some hazard in new_hazards(change)
	hazard.type in deserves_a_warning
	msg := sprintf("%s: %s. %s", [change.address, hazard.type, hazard.message])
}

# Changes that do something. Resources that stay as they are list their hazards, too.
stages contains change if {
	some change in input.resource_changes
	startswith(change.type, "postgres_")
	endswith(change.provider_name, "/stagedpg/postgres")
	some action in change.change.actions
	action in {"create", "update", "delete"}
}

# The hazards that this change brings. An update that leaves the statements alone brings only those that were not there.
new_hazards(change) := {hazard |
	some hazard in object.get(change.change, ["after", "hazards"], [])
	not was_there(change.change, hazard)
}

was_there(change, hazard) if {
	not "delete" in change.actions
	change.before.statements == change.after.statements
	hazard in change.before.hazards
}

needs(_, hazard) if hazard in needs_approval

needs("postgres_column_contract", hazard) if hazard in contract_needs_approval

is_approved(address, hazard) if hazard in approved.changes[address]

# The statements to which a hazard belongs.
statements(change, hazard) := concat("\n", [indented |
	some s in object.get(change.change, ["after", "statements"], [])
	belongs(s, hazard)
	indented := sprintf("  %s", [replace(s.sql, "\n", "\n  ")])
])

belongs(s, "access_exclusive_lock") if s.lock == "ACCESS EXCLUSIVE"

belongs(s, hazard) if {
	startswith(hazard, "deletes_")
	regex.match(`\bDROP (COLUMN|TABLE)\b`, s.sql)
}

belongs(s, "table_rewrite") if s.effect == "rewrites"

belongs(s, "skips_triggers") if s.effect == "batched update"
