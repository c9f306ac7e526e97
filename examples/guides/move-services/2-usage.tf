data "postgres_column_usage" "full_name" {
  table   = postgres_column_sync.name.table
  columns = ["full_name"]
}

check "nobody_writes_full_name" {
  assert {
    condition     = length(data.postgres_column_usage.full_name.legacy_writers) == 0
    error_message = data.postgres_column_usage.full_name.summary
  }
}
