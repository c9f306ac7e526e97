# Stage 4. Nobody needs full_name any more: it is dropped. An archive keeps what reverse could not give back.
resource "postgres_column_contract" "name" {
  table   = postgres_batched_backfill.name.table
  columns = ["full_name"]
  mode    = "drop"

  # A real change leaves these two out, and waits until no service has written full_name for 24 hours.
  writers_migrated = true
  ignore           = var.moved
}

variable "moved" {
  description = "Services that were seen writing full_name, and have moved since."
  default     = ["accounts", "crm", "mailing", "orders", "reports", "search", "support"]
}

# Who still uses full_name, for the comment on the pull request.
data "postgres_column_usage" "full_name" {
  table   = postgres_batched_backfill.name.table
  columns = ["full_name"]
}

output "full_name" {
  value = data.postgres_column_usage.full_name.summary
}
