resource "postgres_column_expand" "customer_reference" {
  table   = "orders"
  columns = { customer_reference = { type = "text" } }
}
