import {
  to = postgres_column_sync.name
  identity = {
    id = "public.users/first_name,last_name"
  }
}
