resource "postgres_column_expand" "token" {
  table   = "sessions"
  columns = { token = { type = "uuid" } }

  force_destroy = true # its values are nowhere else
}
