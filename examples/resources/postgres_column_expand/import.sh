# The identifier is schema.table/column,column.
terraform import postgres_column_expand.name public.users/first_name,last_name,locale
