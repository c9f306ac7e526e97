data "postgres_column_usage" "full_name" {
  table   = "users"
  columns = ["full_name"]
}

# Warns in every plan, and names who it is.
check "full_name_is_not_used" {
  assert {
    condition = alltrue([
      length(data.postgres_column_usage.full_name.legacy_writers) == 0,
      !anytrue(data.postgres_column_usage.full_name.statements[*].certain),
    ])
    error_message = data.postgres_column_usage.full_name.summary
  }
}

output "who_uses_full_name" {
  value = data.postgres_column_usage.full_name.summary
}
