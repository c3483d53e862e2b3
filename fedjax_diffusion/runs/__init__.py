"""Runs and their folders: rounds, records, evaluation, ledger and figure."""
