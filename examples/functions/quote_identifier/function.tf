variable "old_column" {
  type    = string
  default = "Full Name"
}

resource "postgres_column_expand" "name" {
  table   = "users"
  columns = { full_name = { type = "text" } }
}

# The name has upper case and a space, so that SQL needs quotes around it.
resource "postgres_batched_backfill" "name" {
  table = postgres_column_expand.name.table
  set   = { full_name = provider::postgres::quote_identifier(var.old_column) }
}
