"""Where outcomes go: ledger and status over memory and Redis, and one budgeted writer. Out: policy."""
