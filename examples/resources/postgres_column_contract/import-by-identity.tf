import {
  to = postgres_column_contract.name
  identity = {
    id = "public.users/full_name"
  }
}
