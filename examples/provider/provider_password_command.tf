# A token that lives for minutes: the command runs before each new connection.
provider "postgres" {
  host     = "shop.example.eu-central-1.rds.amazonaws.com"
  database = "shop"
  username = "terraform"
  sslmode  = "verify-full"
  password_command = [
    "aws", "rds", "generate-db-auth-token",
    "--hostname", "shop.example.eu-central-1.rds.amazonaws.com",
    "--port", "5432",
    "--username", "terraform",
  ]
}
