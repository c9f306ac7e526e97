import {
  to = postgres_batched_backfill.name
  id = "public.users/first_name,last_name"
}
