CREATE TABLE users (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  full_name  text NOT NULL,
  first_name text,
  last_name  text
);
CREATE VIEW people AS SELECT id, full_name FROM users;
