CREATE TABLE orders (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cust_ref text
);
CREATE INDEX orders_cust_ref_idx ON orders (cust_ref);

INSERT INTO orders (cust_ref)
SELECT CASE WHEN n % 10 > 0 THEN 'C-' || n END
  FROM generate_series(1, 1000) AS n;
