# Stage 4. Nobody needs full_name any more: it is dropped. An archive keeps what reverse could not give back.
resource "postgres_column_contract" "name" {
  table   = postgres_batched_backfill.name.table
  columns = ["full_name"]
  mode    = "drop"

  # A real change leaves these two out, and waits until no service has used full_name for 24 hours.
  writers_migrated = true
  ignore           = var.moved
}
