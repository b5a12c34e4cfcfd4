"""What only the book needs: figures, explorers, tables, statistics and the ledger of claims."""
