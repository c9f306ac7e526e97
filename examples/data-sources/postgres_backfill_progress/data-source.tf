data "postgres_backfill_progress" "users" {
  table = "users"
}

# Warns in every plan while a backfill of the table is not complete, and says how far it is.
check "backfills_of_users_are_complete" {
  assert {
    condition     = data.postgres_backfill_progress.users.all_complete
    error_message = data.postgres_backfill_progress.users.summary
  }
}

output "interrupted" {
  value = [for b in data.postgres_backfill_progress.users.backfills : b.id if b.status == "interrupted"]
}
