-- What services write while full_name is gone.
UPDATE users SET last_name = 'Hopper' WHERE id = 1;
