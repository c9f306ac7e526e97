import {
  to = postgres_column_sync.name
  id = "public.users/first_name,last_name"
}
