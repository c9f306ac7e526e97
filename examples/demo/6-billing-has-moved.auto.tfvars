moved = ["accounts", "billing", "crm", "mailing", "orders", "reports", "search", "support"]
