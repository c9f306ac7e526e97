# The identifier is schema.table/column,column, with the columns that forward filled when the sync was made. The rest comes from the ledger.
terraform import postgres_column_sync.name public.users/first_name,last_name
