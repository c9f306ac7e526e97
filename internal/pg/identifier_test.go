package pg_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

func TestIDsAreReadAsTheyAreWritten(t *testing.T) {
	for _, c := range []struct {
		table   pg.TableName
		columns []string
		want    string
	}{
		{pg.TableName{Schema: "public", Name: "users"}, []string{"first_name", "last_name"}, `public.users/first_name,last_name`},
		{pg.TableName{Schema: "App", Name: "my table"}, []string{"A", `b"c`}, `"App"."my table"/"A","b""c"`},
		{pg.TableName{Schema: "a.b", Name: "c/d"}, []string{"e,f"}, `"a.b"."c/d"/"e,f"`},
		{pg.TableName{Schema: "ñ", Name: "1x"}, []string{"名前"}, `"ñ"."1x"/"名前"`},
	} {
		got := pg.FormatID(c.table, c.columns)
		if got != c.want {
			t.Errorf("FormatID = %s, want %s", got, c.want)
		}
		table, columns, err := pg.ParseID(got)
		if err != nil || table != c.table || !slices.Equal(columns, c.columns) {
			t.Errorf("ParseID(%s) = %v, %q, %v", got, table, columns, err)
		}
	}
}

func TestMalformedIDsAreRefused(t *testing.T) {
	for _, id := range []string{"", "users", "users/a", "public.users", "public.users/", "public.users/a,", "public.users/a.b", `public."users/a`, `public.""/a`, "public.users/a/b", ".users/a", `pub"lic.users/a`} {
		if table, columns, err := pg.ParseID(id); err == nil {
			t.Errorf("ParseID(%q) = %v, %q, want an error", id, table, columns)
		}
	}
}

func FuzzID(f *testing.F) {
	f.Add("public", "users", "full_name")
	f.Add(`a"b`, "c.d", "e,f/g")
	f.Fuzz(func(t *testing.T, schema, name, column string) {
		for _, s := range []string{schema, name, column} {
			if s == "" || strings.Contains(s, "\x00") {
				return // The server has no such names.
			}
		}
		want := pg.TableName{Schema: schema, Name: name}
		table, columns, err := pg.ParseID(pg.FormatID(want, []string{column, column}))
		if err != nil || table != want || !slices.Equal(columns, []string{column, column}) {
			t.Errorf("%q %q %q became %v %q, %v", schema, name, column, table, columns, err)
		}
	})
}
