"""The command line, a file a group of commands: ``python -m dashlib --help``."""
