resource "postgres_batched_backfill" "name" {
  table = "users"
  set = {
    first_name = "split_part(full_name, ' ', 1)"
    last_name  = "substr(full_name, strpos(full_name, ' ') + 1)"
  }
}

# Drops full_name, and the index on it. No sync says how to compute it, so that the archive keeps all values.
resource "postgres_column_contract" "name" {
  table            = postgres_batched_backfill.name.table
  columns          = ["full_name"]
  mode             = "drop"
  drops            = ["index public.users_full_name_idx"]
  writers_migrated = true
}
