# Recomputes every value that differs, for a column that only the backfill writes.
resource "postgres_column_expand" "search" {
  table   = "users"
  columns = { email_key = { type = "text" } }
}

resource "postgres_batched_backfill" "search" {
  table     = postgres_column_expand.search.table
  set       = { email_key = "lower(email)" }
  overwrite = true
  where     = "email LIKE '%@example.com'"
}
