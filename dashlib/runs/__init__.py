"""The stored runs: how each is made, scored, made again and verified."""
