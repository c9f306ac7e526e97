resource "postgres_column_expand" "name" {
  table   = "users"
  columns = { first_name = { type = "text" } }
}

resource "postgres_batched_backfill" "name" {
  table        = postgres_column_expand.name.table
  set          = { first_name = "split_part(full_name, ' ', 1)" }
  apply_budget = "50m"
}

# terraform apply -invoke=action.postgres_backfill_run.name
action "postgres_backfill_run" "name" {
  config {
    id  = postgres_batched_backfill.name.id
    for = "2h"
  }
}
