# All that are paused: terraform apply -invoke=action.postgres_backfill_resume.all
action "postgres_backfill_resume" "all" {
  config {}
}
