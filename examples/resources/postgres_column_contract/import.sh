# The identifier is schema.table/column,column, with the former names of the columns. The ledger must know the contract.
terraform import postgres_column_contract.name public.users/full_name
