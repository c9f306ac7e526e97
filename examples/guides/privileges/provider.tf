terraform {
  required_providers {
    postgres = {
      source = "stagedpg/postgres"
    }
  }
}

provider "postgres" {
  username = "terraform"
  role     = "app_owner"
}
