-- Run once by an administrator, in the database whose tables are changed.

-- The role that Terraform logs in as. It takes on app_owner in each transaction.
CREATE ROLE terraform LOGIN;
GRANT app_owner TO terraform;

-- The ledger.
CREATE SCHEMA terraform_postgres AUTHORIZATION app_owner;

-- Optional: messages then also show what other roles' sessions that hold a lock are doing, and which statements use a column.
GRANT pg_read_all_stats TO app_owner;
