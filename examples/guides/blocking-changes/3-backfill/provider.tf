terraform {
  required_providers {
    postgres = {
      source = "stagedpg/postgres"
    }
  }
}

# PGHOST, PGDATABASE, PGUSER and PGPASSWORD say where.
provider "postgres" {}
