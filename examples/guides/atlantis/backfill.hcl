resource "postgres_batched_backfill" "name" {
  table        = postgres_column_sync.name.table
  set          = postgres_column_sync.name.forward
  apply_budget = "50m"
}
