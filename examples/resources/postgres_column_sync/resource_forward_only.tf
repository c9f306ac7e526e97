# A column that only follows another one, for a key that is looked up often.
resource "postgres_column_expand" "search" {
  table   = "users"
  columns = { email_key = { type = "text" } }
}

resource "postgres_column_sync" "search" {
  table   = postgres_column_expand.search.table
  forward = { email_key = "lower(email)" }
}
