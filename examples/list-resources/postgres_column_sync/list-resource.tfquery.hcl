list "postgres_column_sync" "users" {
  provider = postgres

  config {
    table = "users"
  }
}
