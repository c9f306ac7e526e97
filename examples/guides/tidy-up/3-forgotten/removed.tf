removed {
  from = postgres_column_contract.name
  lifecycle {
    destroy = false
  }
}

removed {
  from = postgres_batched_backfill.name
  lifecycle {
    destroy = false
  }
}

removed {
  from = postgres_column_expand.name
  lifecycle {
    destroy = false
  }
}
