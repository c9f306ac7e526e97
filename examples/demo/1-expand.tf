# Stage 1. New columns beside the old one. No service has to know them yet.
resource "postgres_column_expand" "name" {
  table = "users"

  columns = {
    first_name = { type = "text" }
    last_name  = { type = "text" }
  }
}
