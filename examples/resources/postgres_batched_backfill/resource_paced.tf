# Goes easy on a busy server, and ends the apply before the pipeline does.
resource "postgres_column_expand" "name" {
  table   = "users"
  columns = { first_name = { type = "text" } }
}

resource "postgres_batched_backfill" "name" {
  table = postgres_column_expand.name.table
  set   = { first_name = "split_part(full_name, ' ', 1)" }

  target_duration     = "50ms"
  workers             = 1
  duty_cycle          = 0.5
  max_rows_per_second = 20000
  apply_budget        = "50m"

  throttle = {
    replica_lag = "5s"
    dead_rows   = "off"
    queries     = { waiting_jobs = "SELECT count(*) > 10000 FROM users WHERE email IS NULL" }
  }

  # Only at night, and at the weekend.
  # windows = [
  #   { days = ["mon", "tue", "wed", "thu", "fri"], start = "22:00", end = "06:00", time_zone = "Europe/Berlin" },
  #   { days = ["sat", "sun"], start = "00:00", end = "24:00", time_zone = "Europe/Berlin" },
  # ]
}
