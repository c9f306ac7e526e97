# Stage 3. No service uses full_name any more: it is renamed away, from where an undo brings it back.
resource "postgres_column_contract" "name" {
  table            = postgres_batched_backfill.name.table
  columns          = ["full_name"]
  mode             = "quarantine"
  writers_migrated = true
}
