resource "postgres_batched_backfill" "customer_reference" {
  table = postgres_column_expand.customer_reference.table
  set   = { customer_reference = "cust_ref" }
}
