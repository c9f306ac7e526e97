package usage_test

import (
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

const tables = `
	CREATE TABLE users (id bigint PRIMARY KEY, full_name text, email text, at timestamptz DEFAULT now());
	CREATE TABLE other (id bigint PRIMARY KEY, full_name text);
	CREATE TABLE wide (id bigint PRIMARY KEY, "Full Name" text);
	CREATE VIEW shown AS SELECT id, full_name AS name, email FROM users;
	CREATE VIEW shown_again AS SELECT id, name FROM shown;
	CREATE VIEW filtered AS SELECT id FROM users WHERE full_name <> '';`

// TestStatements lets the server run one statement, and asks whether it uses users.full_name.
func TestStatements(t *testing.T) {
	t.Parallel()
	const (
		none   = ""
		reads  = "reads [full_name] writes []"
		writes = "reads [] writes [full_name]"
		both   = "reads [full_name] writes [full_name]"
		may    = "possible"
	)
	server := counting(t, nil)
	for name, c := range map[string]struct {
		statement string
		want      string
		major     int // the oldest that knows it
	}{
		"column":                        {statement: `SELECT full_name FROM users WHERE id = 1`, want: reads},
		"other column":                  {statement: `SELECT email FROM users WHERE id = 1`, want: none},
		"condition":                     {statement: `SELECT id FROM users WHERE full_name = 'x'`, want: reads},
		"alias":                         {statement: `SELECT u.full_name FROM users u`, want: reads},
		"alias of the column's name":    {statement: `SELECT email AS full_name FROM users`, want: none},
		"qualified":                     {statement: `SELECT users.full_name FROM public.users`, want: reads},
		"upper case":                    {statement: `SELECT FULL_NAME FROM Users`, want: reads},
		"quoted":                        {statement: `SELECT "full_name" FROM "users"`, want: reads},
		"subquery":                      {statement: `SELECT id FROM other o WHERE EXISTS (SELECT FROM users u WHERE u.full_name = o.full_name)`, want: reads},
		"subquery without it":           {statement: `SELECT o.full_name FROM other o WHERE EXISTS (SELECT FROM users u WHERE u.id = o.id)`, want: none},
		"common table expression":       {statement: `WITH x AS (SELECT full_name AS n FROM users) SELECT n FROM x`, want: reads},
		"writing one":                   {statement: `WITH x AS (UPDATE users SET full_name = 'x' RETURNING id) SELECT id FROM x`, want: writes},
		"star":                          {statement: `SELECT * FROM users`, want: reads},
		"qualified star":                {statement: `SELECT u.* FROM users u JOIN other o USING (id)`, want: reads},
		"star of the other table":       {statement: `SELECT o.* FROM users u JOIN other o USING (id)`, want: none},
		"TABLE":                         {statement: `TABLE users`, want: reads},
		"whole row":                     {statement: `SELECT row_to_json(u) FROM users u`, want: reads},
		"whole row as text":             {statement: `SELECT u::text FROM users AS u`, want: reads},
		"count(*)":                      {statement: `SELECT count(*) FROM users`, want: none},
		"product":                       {statement: `SELECT id * 2 FROM users`, want: none},
		"natural join":                  {statement: `SELECT id FROM users NATURAL JOIN other`, want: reads},
		"join using":                    {statement: `SELECT u.id FROM users u JOIN other o USING (full_name)`, want: reads},
		"insert":                        {statement: `INSERT INTO users (id, full_name) VALUES (2, 'x')`, want: writes},
		"insert of others":              {statement: `INSERT INTO users (id, email) VALUES (3, 'x')`, want: none},
		"insert without a list":         {statement: `INSERT INTO users VALUES (4, 'x')`, want: writes},
		"insert of the first only":      {statement: `INSERT INTO users VALUES (5)`, want: none},
		"insert from a query":           {statement: `INSERT INTO other SELECT id + 100, full_name FROM users`, want: reads},
		"insert returning":              {statement: `INSERT INTO users (id) VALUES (6) RETURNING *`, want: reads},
		"default":                       {statement: `INSERT INTO users (id, full_name) VALUES (7, DEFAULT)`, want: writes},
		"update":                        {statement: `UPDATE users SET full_name = 'x' WHERE id = 1`, want: writes},
		"update of itself":              {statement: `UPDATE users SET full_name = lower(full_name)`, want: both},
		"update of others":              {statement: `UPDATE users SET email = 'x' WHERE id = 1`, want: none},
		"update from the other table":   {statement: `UPDATE users SET email = o.full_name FROM other o WHERE o.id = users.id`, want: none},
		"row assignment":                {statement: `UPDATE users SET (email, full_name) = ROW ('a', 'b')`, want: writes},
		"on conflict":                   {statement: `INSERT INTO users (id, email) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET full_name = 'x'`, want: writes},
		"excluded":                      {statement: `INSERT INTO users (id, full_name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET full_name = excluded.full_name`, want: writes},
		"on conflict condition":         {statement: `INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = 'x' WHERE users.full_name = 'x'`, want: reads},
		"delete":                        {statement: `DELETE FROM users WHERE full_name = 'x'`, want: reads},
		"delete of all":                 {statement: `DELETE FROM users`, want: none},
		"merge":                         {statement: `MERGE INTO users u USING other o ON u.id = o.id WHEN MATCHED THEN UPDATE SET full_name = o.full_name WHEN NOT MATCHED THEN DO NOTHING`, want: writes, major: 15},
		"merge insert":                  {statement: `MERGE INTO users u USING other o ON u.id = o.id WHEN NOT MATCHED THEN INSERT (id, email) VALUES (o.id, o.full_name)`, want: none, major: 15},
		"group by a constant":           {statement: `SELECT date_trunc('day', at), count(full_name) FROM users GROUP BY date_trunc('day', at)`, want: reads},
		"group by a position":           {statement: `SELECT full_name, count(*) + 1 FROM users GROUP BY 1 ORDER BY 2, 1`, want: reads},
		"interval":                      {statement: `SELECT full_name FROM users WHERE at > now() - interval '1 day'`, want: reads},
		"date":                          {statement: `SELECT id FROM users WHERE at > date '2020-01-01'`, want: none},
		"limit":                         {statement: `SELECT full_name FROM users ORDER BY 1 LIMIT 5 OFFSET 2`, want: reads},
		"list":                          {statement: `SELECT id FROM users WHERE full_name IN ('a', 'b', 'c')`, want: reads},
		"comment":                       {statement: `/* service=a */ SELECT full_name FROM users -- the end`, want: reads},
		"set operation":                 {statement: `(SELECT id FROM other) UNION ALL (SELECT id FROM users WHERE full_name IS NULL)`, want: reads},
		"tablesample":                   {statement: `SELECT full_name FROM users TABLESAMPLE BERNOULLI (50)`, want: reads},
		"lock":                          {statement: `SELECT id FROM users FOR UPDATE`, want: none},
		"through a view":                {statement: `SELECT name FROM shown`, want: reads},
		"through a view's star":         {statement: `SELECT * FROM shown`, want: reads},
		"through two views":             {statement: `SELECT name FROM shown_again`, want: reads},
		"update through a view":         {statement: `UPDATE shown SET name = 'x'`, want: writes},
		"another column of a view":      {statement: `SELECT email FROM shown`, want: may},
		"view that hides it":            {statement: `SELECT id FROM filtered`, want: may},
		"copy out":                      {statement: `COPY users TO STDOUT`, want: reads},
		"copy out of others":            {statement: `COPY users (id, email) TO STDOUT`, want: none},
		"copy out of a query":           {statement: `COPY (SELECT full_name FROM users) TO STDOUT`, want: reads},
		"copy in":                       {statement: `COPY users (id, full_name) FROM STDIN`, want: writes},
		"cursor":                        {statement: `BEGIN; DECLARE c CURSOR FOR SELECT full_name FROM users; COMMIT`, want: reads},
		"cursor without it":             {statement: `BEGIN; DECLARE c CURSOR FOR SELECT full_name FROM other; COMMIT`, want: none},
		"prepared":                      {statement: `PREPARE p (bigint) AS SELECT full_name FROM users WHERE id = $1; EXECUTE p (1)`, want: reads},
		"table from a query":            {statement: `CREATE TEMP TABLE copied AS SELECT full_name FROM users`, want: reads},
		"anonymous block":               {statement: `DO $$ BEGIN PERFORM full_name FROM users; END $$`, want: may},
		"block without it":              {statement: `DO $$ BEGIN PERFORM email FROM users; END $$`, want: none},
		"explain":                       {statement: `EXPLAIN SELECT full_name FROM users`, want: none},
		"analyze":                       {statement: `ANALYZE users (full_name)`, want: none},
		"table that is gone since":      {statement: `CREATE TEMP TABLE gone (id int); SELECT u.full_name FROM users u JOIN gone USING (id)`, want: may},
		"table that is gone, not it":    {statement: `CREATE TEMP TABLE gone (id int); SELECT u.email FROM users u JOIN gone USING (id)`, want: none},
		"table that is gone, with star": {statement: `CREATE TEMP TABLE gone (id int); SELECT u.* FROM users u JOIN gone USING (id)`, want: may},
		"name of one in another's":      {statement: `SELECT full_name AS users FROM other`, want: none},
		"hundreds of constants":         {statement: `SELECT full_name FROM users WHERE id IN (` + numbers(300) + `)`, want: reads},
		"second statement":              {statement: `SELECT 1; SELECT full_name FROM users`, want: reads},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if server.Major < c.major {
				t.Skipf("MERGE came with version %d", c.major)
			}
			db := countingDatabase(t, server)
			db.Exec(t, tables)
			role := newRole(t, db)
			super(t, db, `GRANT TEMPORARY ON DATABASE `+db.Name+` TO `+role)
			run(t, db, role, c.statement)
			if got := uses(look(t, db, "full_name"), role); got != c.want {
				t.Errorf("%q, want %q\n%v", got, c.want, pgtest.Query[string](t, db, `SELECT query FROM pg_stat_statements 
					WHERE query ~ 'users' AND query !~ 'CREATE' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())`))
			}
		})
	}
}

func numbers(n int) string {
	text := "0"
	for range n - 1 {
		text += ", 0"
	}
	return text
}
