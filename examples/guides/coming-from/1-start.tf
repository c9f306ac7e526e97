resource "postgres_column_expand" "rating" {
  table   = "reviews"
  columns = { rating_value = { type = "integer" } }
}

resource "postgres_column_sync" "rating" {
  table   = postgres_column_expand.rating.table
  forward = { rating_value = "rating::integer" }
  reverse = { rating = "rating_value::text" }
}

resource "postgres_batched_backfill" "rating" {
  table = postgres_column_sync.rating.table
  set   = postgres_column_sync.rating.forward
}
