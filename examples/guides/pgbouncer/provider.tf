terraform {
  required_providers {
    postgres = {
      source = "stagedpg/postgres"
    }
  }
}

# PGHOST and PGPORT name PgBouncer.
provider "postgres" {
  max_connections = 4 # no more than default_pool_size
}
