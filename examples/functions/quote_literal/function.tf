variable "unknown_name" {
  type    = string
  default = "Name isn't known"
}

resource "postgres_column_expand" "display_name" {
  table   = "users"
  columns = { display_name = { type = "text" } }
}

resource "postgres_batched_backfill" "display_name" {
  table = postgres_column_expand.display_name.table
  set   = { display_name = "coalesce(full_name, ${provider::postgres::quote_literal(var.unknown_name)})" }
}
