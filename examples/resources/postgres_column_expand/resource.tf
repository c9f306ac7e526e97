resource "postgres_column_expand" "name" {
  table = "users"
  columns = {
    first_name = { type = "text" }
    last_name  = { type = "text" }
    locale     = { type = "varchar(35)", default = "'en'", not_null = true }
  }
}
