resource "postgres_column_expand" "name" {
  table = "users"
  columns = {
    first_name = { type = "text" }
    last_name  = { type = "text" }
  }
}

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
