CREATE TABLE reviews (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  rating text
);

INSERT INTO reviews (rating)
SELECT CASE WHEN n % 10 > 0 THEN (n % 5 + 1)::text END
  FROM generate_series(1, 1000) AS n;
