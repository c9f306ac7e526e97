resource "postgres_column_expand" "token" {
  table   = "sessions"
  columns = { token = { type = "uuid", default = "gen_random_uuid()" } }

  force_destroy = true # its values are nowhere else
}

resource "postgres_batched_backfill" "token" {
  table = postgres_column_expand.token.table
  set   = { token = "gen_random_uuid()" }
}
