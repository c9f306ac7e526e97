CREATE TABLE users (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  full_name text NOT NULL,
  email     text NOT NULL UNIQUE
);

INSERT INTO users (full_name, email)
SELECT 'First' || n || ' Last' || n, n || '@example.com'
  FROM generate_series(1, 1000) AS n;
