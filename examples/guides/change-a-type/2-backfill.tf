resource "postgres_batched_backfill" "price" {
  table = postgres_column_expand.price.table
  set = {
    # What is no number stays NULL, instead of ending the backfill with an error.
    price_amount = "CASE WHEN price ~ '^[0-9]+([.][0-9]+)?$' THEN price::numeric(12,2) END"
  }
}
