"""Needed by the book only: figures, explorers, tables, statistics and the ledger of claims."""
