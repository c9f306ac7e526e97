resource "postgres_column_contract" "rating" {
  table     = postgres_batched_backfill.rating.table
  columns   = ["rating"]
  quiet_for = "0s" # Nobody else uses this table. Leave it out for yours.
}
