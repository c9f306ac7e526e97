terraform {
  required_providers {
    postgres = {
      source = "stagedpg/postgres"
    }
  }
}

provider "postgres" {
  lock_timeout   = "100ms" # the longest stall of the application
  lock_retry_for = "30m"   # how long to go on trying
}

resource "postgres_column_expand" "born_on" {
  table   = "people"
  columns = { born_on = { type = "date" } }
}

resource "postgres_batched_backfill" "born_on" {
  table = postgres_column_expand.born_on.table
  set   = { born_on = "nullif(born, 'unknown')::date" }

  timeouts = {
    create = "2h" # ends the apply; the next one goes on
    update = "2h"
  }
}
