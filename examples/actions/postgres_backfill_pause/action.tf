# All backfills that run: terraform apply -invoke=action.postgres_backfill_pause.all
action "postgres_backfill_pause" "all" {
  config {}
}
