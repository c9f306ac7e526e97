resource "postgres_column_expand" "name" {
  table   = "users"
  columns = { first_name = { type = "text" } }
}

resource "postgres_batched_backfill" "name" {
  table = postgres_column_expand.name.table
  set   = { first_name = "split_part(full_name, ' ', 1)" }
}

# terraform apply -invoke=action.postgres_backfill_verify.name
action "postgres_backfill_verify" "name" {
  config {
    id = postgres_batched_backfill.name.id
  }
}
