resource "postgres_column_contract" "customer_reference" {
  table            = postgres_batched_backfill.customer_reference.table
  columns          = ["cust_ref"]
  writers_migrated = true
}
