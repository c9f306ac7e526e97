-- What services write while full_name is away.
INSERT INTO users (first_name, last_name, email) VALUES ('Ada', 'Lovelace', 'ada@example.com');
