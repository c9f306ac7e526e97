# The identifier is schema.table/column,column, with the columns that the backfill fills. The rest comes from the ledger.
terraform import postgres_batched_backfill.name public.users/first_name,last_name
