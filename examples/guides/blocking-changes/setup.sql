CREATE TABLE sessions (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL
);

INSERT INTO sessions (user_id)
SELECT n % 100 FROM generate_series(1, 1000) AS n;
