data "postgres_table_preflight" "users" {
  table = "users"
}

# Warns in every plan while somebody is in the way, or something else would hurt a change.
check "users_can_be_changed" {
  assert {
    condition = alltrue([
      data.postgres_table_preflight.users.ready,
      length(data.postgres_table_preflight.users.hazards) == 0,
    ])
    error_message = data.postgres_table_preflight.users.summary
  }
}

# Refuses a plan of this stage when the table is not fit for it.
resource "postgres_column_expand" "name" {
  table = "users"
  columns = {
    first_name = { type = "text" }
    last_name  = { type = "text" }
  }

  lifecycle {
    precondition {
      condition = length(setintersection(
        data.postgres_table_preflight.users.hazards[*].type,
        ["not_owner", "few_column_slots", "wraparound_vacuum"],
      )) == 0
      error_message = data.postgres_table_preflight.users.summary
    }
  }
}

output "columns_that_can_still_be_added" {
  value = data.postgres_table_preflight.users.column_slots_left > 100 ? "enough" : "few"
}
