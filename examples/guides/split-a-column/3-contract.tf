resource "postgres_column_contract" "name" {
  table            = postgres_batched_backfill.name.table
  columns          = ["full_name"]
  writers_migrated = true # no service names full_name any more
}
