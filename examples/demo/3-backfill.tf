# Stage 3. Fills the rows that nobody has written since.
resource "postgres_batched_backfill" "name" {
  table = postgres_column_sync.name.table
  set   = postgres_column_sync.name.forward
}
