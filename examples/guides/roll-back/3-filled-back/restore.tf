resource "postgres_batched_backfill" "restore" {
  table = "users"
  set   = { full_name = "concat_ws(' ', first_name, last_name)" }
}
