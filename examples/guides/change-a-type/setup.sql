CREATE TABLE products (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  price text
);

INSERT INTO products (price)
SELECT CASE n % 100 WHEN 0 THEN 'on request' WHEN 1 THEN NULL ELSE n || '.50' END
  FROM generate_series(1, 1000) AS n;
