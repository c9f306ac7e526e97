package provider_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/provider"
)

func TestMain(m *testing.M) {
	var err error
	if pluginDir, err = os.MkdirTemp("", "provider-"); err != nil {
		panic(err)
	}
	pgtest.Main(m)
	if err := os.RemoveAll(pluginDir); err != nil {
		panic(err)
	}
}

// factories serve the provider in the process of the test.
var factories = map[string]func() (tfprotov6.ProviderServer, error){
	"postgres": providerserver.NewProtocol6WithError(provider.New("test")()),
}

// providerBlock connects to the test's database as its owner, who is no superuser.
func providerBlock(db *pgtest.Database) string {
	return fmt.Sprintf("provider \"postgres\" {\n  connection_string = %q\n  lock_retry_for    = \"5s\"\n}\n", db.ConnString())
}

const (
	expandName = `
resource "postgres_column_expand" "name" {
  table = "users"
  columns = {
    first_name = { type = "text" }
    last_name  = { type = "varchar(200)" }
  }
}
`
	backfillName = `
resource "postgres_batched_backfill" "name" {
  table = postgres_column_expand.name.table
  set = {
    first_name = "split_part(full_name, ' ', 1)"
    last_name  = "substr(full_name, strpos(full_name, ' ') + 1)"
  }
}
`
	contractName = `
resource "postgres_column_contract" "name" {
  table            = postgres_batched_backfill.name.table
  columns          = ["full_name"]
  writers_migrated = true
}
`
)

func createUsers(t *testing.T, db *pgtest.Database, rows int) {
	t.Helper()
	db.Exec(t, `
		CREATE TABLE users (
		  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		  full_name text NOT NULL,
		  email text UNIQUE,
		  visits int DEFAULT 0
		)`)
	db.Exec(t, `
		INSERT INTO users (full_name, email)
		SELECT 'First' || i || ' Last' || i, i || '@example.com' FROM generate_series(1, $1) AS i`, rows)
}
