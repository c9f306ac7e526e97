# Stage 2. One trigger keeps both shapes equal, whichever of them a service writes. From here each service moves when it likes.
resource "postgres_column_sync" "name" {
  table = postgres_column_expand.name.table

  forward = {
    first_name = "split_part(full_name, ' ', 1)"
    last_name  = "substr(full_name, length(split_part(full_name, ' ', 1)) + 2)"
  }
  reverse = {
    full_name = "first_name || ' ' || last_name"
  }
}
