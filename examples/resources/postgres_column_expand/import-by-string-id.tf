import {
  to = postgres_column_expand.name
  id = "public.users/first_name,last_name,locale"
}
