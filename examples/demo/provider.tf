terraform {
  required_providers {
    postgres = {
      source = "stagedpg/postgres"
    }
  }
}

# The connection comes from PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE.
provider "postgres" {}
