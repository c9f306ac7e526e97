variable "client_key" {
  type        = string
  sensitive   = true
  description = "PEM text, or the path of a file."
}

# A client certificate in place of a password.
provider "postgres" {
  host        = "db.example.com"
  database    = "shop"
  username    = "terraform"
  sslmode     = "verify-full"
  sslrootcert = "/etc/ssl/certs/db-ca.pem"
  sslcert     = "/etc/ssl/certs/terraform.pem"
  sslkey      = var.client_key
}
