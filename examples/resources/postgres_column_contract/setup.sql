CREATE TABLE users (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  full_name  text NOT NULL,
  first_name text,
  last_name  text
);
CREATE INDEX users_full_name_idx ON users (full_name);

INSERT INTO users (full_name)
SELECT 'First' || n || ' Last' || n
  FROM generate_series(1, 1000) AS n;
