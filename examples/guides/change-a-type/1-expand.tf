resource "postgres_column_expand" "price" {
  table   = "products"
  columns = { price_amount = { type = "numeric(12,2)" } }
}
