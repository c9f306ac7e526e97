resource "postgres_column_expand" "name" {
  table = "users"
  columns = {
    first_name = { type = "text" }
    last_name  = { type = "text" }
  }
}
