# What has been approved, by the address of the stage. "destroy" approves of a destroy.
package approved

changes["postgres_column_contract.name"] := {"access_exclusive_lock"}
