resource "postgres_column_contract" "price" {
  table            = postgres_batched_backfill.price.table
  columns          = ["price"]
  writers_migrated = true
}
