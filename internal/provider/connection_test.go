package provider_test

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestSettingsComeFromTheEnvironment(t *testing.T) {
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	u, err := url.Parse(db.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	t.Setenv("PGHOST", u.Hostname())
	t.Setenv("PGPORT", u.Port())
	t.Setenv("PGUSER", u.User.Username())
	t.Setenv("PGPASSWORD", password)
	t.Setenv("PGDATABASE", strings.TrimPrefix(u.Path, "/"))
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps:                    []resource.TestStep{{Config: expandName}},
	})
}

func TestPasswordCommandIsRunForEachConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	u, err := url.Parse(db.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	config := func(command string) string {
		return fmt.Sprintf(`
			provider "postgres" {
			  host             = %q
			  port             = %s
			  username         = %q
			  database         = %q
			  sslmode          = "disable"
			  password_command = %s
			}`, u.Hostname(), u.Port(), u.User.Username(), strings.TrimPrefix(u.Path, "/"), command) + expandName
	}
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: config(fmt.Sprintf(`["printf", "%%s\\n", %q]`, password))},
			{Config: config(`["false"]`), Destroy: true, ExpectError: phrase(`password_command "false" failed`)},
			{Config: config(fmt.Sprintf(`["echo", %q]`, password))},
		},
	})
}

// TestPlanWithoutADatabaseWarnsOnce covers a database that the same apply is going to create.
func TestPlanWithoutADatabaseIsNoError(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().(*net.TCPAddr)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	unreachable := fmt.Sprintf("provider \"postgres\" {\n  host = \"127.0.0.1\"\n  port = %d\n connect_timeout = \"2s\"\n}\n", address.Port)
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: unreachable + expandName + backfillName + contractName, PlanOnly: true, ExpectNonEmptyPlan: true},
			{Config: unreachable + expandName, ExpectError: phrase("The database cannot be reached")},
		},
	})
}

func TestProviderBlockThatIsKnownOnlyAtApply(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	config := fmt.Sprintf(`
		resource "terraform_data" "database" {
		  input = %q
		}
		provider "postgres" {
		  connection_string = terraform_data.database.output
		}`, db.ConnString())
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps:                    []resource.TestStep{{Config: config + expandName + backfillName, ConfigPlanChecks: emptyPlan}},
	})
}

func TestBadProviderBlockIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ block, want string }{
		"two ways to connect":     {`connection_string = "postgres://x"` + "\nhost = \"y\"", "cannot be specified when"},
		"malformed string":        {`connection_string = "postgres://%zz"`, "Connection settings are not usable"},
		"unknown sslmode":         {`sslmode = "maybe"`, "value must be one of"},
		"missing certificate":     {"host = \"localhost\"\nsslmode = \"verify-full\"" + "\nsslrootcert = \"/does/not/exist.pem\"", "Connection settings are not usable"},
		"duration without a unit": {`lock_timeout = "5"`, "Invalid Time Duration"},
		"ledger schema to quote":  {`ledger_schema = "My Ledger"`, "must be a plain name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resource.UnitTest(t, resource.TestCase{
				ProtoV6ProviderFactories: factories,
				Steps:                    []resource.TestStep{{Config: "provider \"postgres\" {\n" + c.block + "\n}\n" + expandName, PlanOnly: true, ExpectError: phrase(c.want)}},
			})
		})
	}
}
