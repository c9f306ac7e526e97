# Stage 2. The services write both shapes by now; this fills the rows they have not written since.
resource "postgres_batched_backfill" "name" {
  table = postgres_column_expand.name.table

  set = {
    first_name = "split_part(full_name, ' ', 1)"
    last_name  = "substr(full_name, length(split_part(full_name, ' ', 1)) + 2)"
  }
}
