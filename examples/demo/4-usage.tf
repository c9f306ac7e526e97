# Before stage 4. Who still writes full_name? The check is a warning on the pull request, and never blocks it.
variable "moved" {
  description = "Services that were seen writing full_name, and have moved since."
  default     = ["accounts", "crm", "mailing", "orders", "reports", "search", "support"]
}

data "postgres_column_usage" "full_name" {
  table   = postgres_batched_backfill.name.table
  columns = ["full_name"]
}

locals {
  late = [
    for writer in data.postgres_column_usage.full_name.legacy_writers : "${writer.application_name}, last seen ${writer.last_seen}"
    if !contains(var.moved, writer.application_name)
  ]
}

check "all_services_have_moved" {
  assert {
    condition     = length(local.late) == 0
    error_message = "Still writing full_name: ${join("; ", local.late)}\n\n${data.postgres_column_usage.full_name.summary}"
  }
}
