"""The book's commands: ``python -m dashbook --help``."""

import click

from dashbook.atlas import repair
from dashbook.claims_cli import claims


@click.group()
def main() -> None:
    """Check the book's claims, and score repaired guidance."""


for command in (claims, repair):
    main.add_command(command)

if __name__ == "__main__":
    main()
