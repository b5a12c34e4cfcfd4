"""The book's commands: ``python -m dashbook --help``."""

from collections import Counter

import click

from dashbook import claims as ledger
from dashlib.cli.sample import Commands


@click.group(cls=Commands)
def main() -> None:
    """Judge the book's claims."""


@main.command()
def claims() -> None:
    """Show the ledger of claims, each with the status that follows from the stored runs."""
    try:
        found = ledger.judgements()
    except ValueError as error:  # of the ledger's file, not of an option
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(ledger.lines(found)))
    counts = Counter(one.status for one in found)
    click.echo(", ".join(f"{counts[s]} {s}" for s in ledger.STATUSES if counts[s]))


if __name__ == "__main__":
    main()
