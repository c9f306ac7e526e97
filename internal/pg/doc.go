// Package pg is what the provider knows about PostgreSQL itself: connections, identifiers, SQLSTATE classes and
// reads of the system catalogs. It knows nothing of stages or of Terraform.
package pg
