import {
  to = postgres_batched_backfill.name
  identity = {
    id = "public.users/first_name,last_name"
  }
}
