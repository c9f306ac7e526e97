resource "postgres_column_expand" "token" {
  table   = "sessions"
  columns = { token = { type = "uuid", default = "gen_random_uuid()" } }

  force_destroy = true # its values are nowhere else
}

resource "postgres_batched_backfill" "token" {
  table = postgres_column_expand.token.table
  set   = { token = "gen_random_uuid()" }
}

resource "postgres_column_expand" "nonce" {
  table   = "sessions"
  columns = { nonce = { type = "uuid", default = "gen_random_uuid()" } }
  allow   = ["table_rewrite"]

  force_destroy = true # its values are nowhere else
}
