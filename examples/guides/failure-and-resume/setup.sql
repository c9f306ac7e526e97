CREATE TABLE people (
  id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  born text
);

INSERT INTO people (born)
SELECT CASE WHEN n % 500 = 0 THEN 'unknown' ELSE to_char(date '1950-01-01' + n, 'YYYY-MM-DD') END
  FROM generate_series(1, 1000) AS n;
