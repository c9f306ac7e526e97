import {
  to = postgres_column_contract.name
  id = "public.users/full_name"
}
