list "postgres_column_expand" "users" {
  provider = postgres

  config {
    table = "users"
  }
}
