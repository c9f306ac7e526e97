CREATE TABLE users (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  full_name text NOT NULL
);
INSERT INTO users (full_name) VALUES ('Ada Lovelace'), ('Alan Turing');
ANALYZE users;
