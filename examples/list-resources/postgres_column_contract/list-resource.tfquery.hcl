list "postgres_column_contract" "users" {
  provider = postgres

  config {
    table = "users"
  }
}
