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
    last_name  = "substr(full_name, strpos(full_name, ' ') + 1)"
  }
  reverse = {
    full_name = "concat_ws(' ', first_name, last_name)"
  }
}

resource "postgres_batched_backfill" "name" {
  table = postgres_column_sync.name.table
  set   = postgres_column_sync.name.forward
}

resource "postgres_column_contract" "name" {
  table            = postgres_batched_backfill.name.table
  columns          = ["full_name"]
  writers_migrated = true # no service names full_name any more
}
