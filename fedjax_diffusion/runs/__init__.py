"""A run and its folder: rounds, records, evaluation, ledger, figure."""
