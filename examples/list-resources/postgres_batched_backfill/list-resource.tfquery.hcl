list "postgres_batched_backfill" "users" {
  provider = postgres

  config {
    table = "users"
  }
}
