package provider_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	own "github.com/stagedpg/terraform-provider-postgres/internal/provider"
)

// call calls a function of the provider as its server does.
func call(t *testing.T, name, argument string) (string, *function.FuncError) {
	t.Helper()
	for _, create := range own.New("test")().(provider.ProviderWithFunctions).Functions(t.Context()) {
		f := create()
		var metadata function.MetadataResponse
		if f.Metadata(t.Context(), function.MetadataRequest{}, &metadata); metadata.Name != name {
			continue
		}
		resp := function.RunResponse{Result: function.NewResultData(types.StringUnknown())}
		f.Run(t.Context(), function.RunRequest{Arguments: function.NewArgumentsData([]attr.Value{types.StringValue(argument)})}, &resp)
		if resp.Error != nil {
			return "", resp.Error
		}
		return resp.Result.Value().(types.String).ValueString(), nil
	}
	t.Fatalf("there is no function %s", name)
	return "", nil
}

// quirky are texts that a careless quoting would change, or let out of their quotes.
var quirky = []string{
	"plain", "Upper Case", `do"uble`, `"`, `""`, `si'ngle`, `'`, `''`, `back\slash`, `\`, `\'`, `\\''`, "select", "a.b", "$1", "$tag$", "%s",
	"tab\tand\nnewline", "naïve_名前", "🐘", "; DROP TABLE users --", "/* ", "U&'", " ", strings.Repeat("n", 63), strings.Repeat("ñ", 31),
}

func TestQuotedIdentifierNamesWhatItQuotes(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	for _, name := range quirky {
		quoted, err := call(t, "quote_identifier", name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		rows, queryErr := db.Owner.Query(t.Context(), "SELECT 1 AS "+quoted)
		if queryErr != nil {
			t.Fatal(queryErr)
		}
		rows.Close()
		if rows.Err() != nil {
			t.Errorf("%q becomes %s: %v", name, quoted, rows.Err())
		} else if got := rows.FieldDescriptions()[0].Name; got != name {
			t.Errorf("%q becomes %s, which names %q", name, quoted, got)
		}
	}
}

func TestQuotedLiteralIsTheText(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	for _, conforming := range []string{"on", "off"} {
		conn, err := db.Owner.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		if _, err := conn.Exec(t.Context(), "SELECT set_config('standard_conforming_strings', $1, false)", conforming); err != nil {
			t.Fatal(err)
		}
		for _, text := range append([]string{""}, quirky...) {
			quoted, funcErr := call(t, "quote_literal", text)
			if funcErr != nil {
				t.Errorf("%q: %v", text, funcErr)
				continue
			}
			var got string
			if err := conn.QueryRow(t.Context(), "SELECT "+quoted).Scan(&got); err != nil || got != text {
				t.Errorf("%q becomes %s, which is %q (%v) with standard_conforming_strings = %s", text, quoted, got, err, conforming)
			}
		}
	}
}

func TestQuoteRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ title, function, argument, want string }{
		{"an empty name", "quote_identifier", "", "it is empty"},
		{"a name with NUL", "quote_identifier", "a\x00b", "NUL character"},
		{"a name of 64 bytes", "quote_identifier", strings.Repeat("n", 64), "it has 64 bytes, and the server would cut it off after 63"},
		{"a name of 32 characters and 64 bytes", "quote_identifier", strings.Repeat("ñ", 32), "it has 64 bytes"},
		{"a text with NUL", "quote_literal", "a\x00b", "NUL character"},
	} {
		t.Run(test.title, func(t *testing.T) {
			quoted, err := call(t, test.function, test.argument)
			if err == nil {
				t.Fatalf("it becomes %s", quoted)
			}
			if !strings.Contains(err.Text, test.want) || err.FunctionArgument == nil || *err.FunctionArgument != 0 {
				t.Errorf("the error is %q of argument %v, want %q of the first", err.Text, err.FunctionArgument, test.want)
			}
		})
	}
}

func TestQuoteFunctionsInConfiguration(t *testing.T) {
	t.Parallel()
	r := newCLIRun(t, pgtest.NewDatabase(t), `
output "quoted" {
  value = [provider::postgres::quote_identifier("Full \"Name\""), provider::postgres::quote_literal("O'Neil \\ Co")]
}
`)
	r.run(0, "apply", "-auto-approve")
	if got, want := strings.TrimSpace(r.run(0, "output", "-json", "quoted")), `["\"Full \"\"Name\"\"\"","E'O''Neil \\\\ Co'"]`; got != want {
		t.Errorf("the output is %s, want %s", got, want)
	}
	r.write("main.tf", "output \"quoted\" {\n  value = provider::postgres::quote_identifier(\""+strings.Repeat("n", 64)+"\")\n}\n")
	if output := r.run(1, "plan"); !phrase("it has 64 bytes, and the server would cut it off after 63").MatchString(output) {
		t.Errorf("the plan does not say what is wrong with the name:\n%s", output)
	}
}
