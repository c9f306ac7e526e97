variable "database_url" {
  type      = string
  sensitive = true
}

# One URI or key=value string, as libpq reads it.
provider "postgres" {
  connection_string = var.database_url
}
