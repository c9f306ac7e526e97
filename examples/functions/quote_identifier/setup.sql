CREATE TABLE users (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "Full Name" text NOT NULL
);
INSERT INTO users ("Full Name") VALUES ('Ada Lovelace'), ('Alan Turing');
