resource "postgres_batched_backfill" "name" {
  table = "users"
  set = {
    first_name = "split_part(full_name, ' ', 1)"
    last_name  = "substr(full_name, strpos(full_name, ' ') + 1)"
  }
}

# Renames full_name to full_name__quarantined.
resource "postgres_column_contract" "name" {
  table            = postgres_batched_backfill.name.table
  columns          = ["full_name"]
  writers_migrated = true
}
