terraform {
  required_providers {
    postgres = {
      source = "stagedpg/postgres"
    }
  }
}

# PGPASSWORD or ~/.pgpass has the password.
provider "postgres" {
  host     = "db.example.com"
  database = "shop"
  username = "terraform"
  sslmode  = "verify-full"
  role     = "app_owner" # owns the tables
}
