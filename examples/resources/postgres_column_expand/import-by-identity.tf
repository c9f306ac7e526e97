import {
  to = postgres_column_expand.name
  identity = {
    id = "public.users/first_name,last_name,locale"
  }
}
