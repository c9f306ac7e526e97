package usage

import (
	"fmt"
	"strings"
)

// parsedFunction is the name of the temporary function.
const parsedFunction = "terraform_postgres_look"

// createFunction renders a function with the statement as its body, in the form that the server parses when the function is
// made (https://www.postgresql.org/docs/current/sql-createfunction.html, sql_body). A comment at the end of the statement must
// not swallow what follows.
func createFunction(arguments []string, sql string) string {
	return fmt.Sprintf("CREATE FUNCTION pg_temp.%s(%s) RETURNS void LANGUAGE sql BEGIN ATOMIC\n%s\n; END", parsedFunction,
		strings.Join(arguments, ", "), sql)
}

// parseBlock makes one function after the other from what it finds in a setting, and leaves their parse trees there. Each is
// taken back at once. The names in it are qualified, because the search path is that of the statement for a moment.
const parseBlock = `DO $look$
DECLARE
  item pg_catalog.jsonb;
  form pg_catalog.text;
  tree pg_catalog.text;
  trees pg_catalog.jsonb := '[]';
BEGIN
  BEGIN
    PERFORM pg_catalog.set_config('pg_stat_statements.track', 'none', true);
  EXCEPTION WHEN insufficient_privilege THEN
    NULL; -- With track = all, the functions are counted.
  END;
  FOR item IN SELECT e.value FROM pg_catalog.jsonb_array_elements(pg_catalog.current_setting('terraform_postgres.look')::pg_catalog.jsonb) AS e LOOP
    tree := NULL;
    FOR form IN SELECT e.value FROM pg_catalog.jsonb_array_elements_text(item -> 'forms') AS e LOOP
      BEGIN
        PERFORM pg_catalog.set_config('search_path', item ->> 'path', true);
        EXECUTE form;
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        SELECT p.prosqlbody::text INTO tree FROM pg_catalog.pg_proc AS p
         WHERE p.pronamespace = pg_catalog.pg_my_temp_schema() AND p.proname = '` + parsedFunction + `';
        RAISE EXCEPTION 'taken back';
      EXCEPTION WHEN OTHERS THEN
        NULL;
      END;
      EXIT WHEN tree IS NOT NULL;
    END LOOP;
    trees := trees || coalesce(pg_catalog.to_jsonb(tree), 'null');
  END LOOP;
  PERFORM pg_catalog.set_config('terraform_postgres.look', trees::text, true);
END $look$`
