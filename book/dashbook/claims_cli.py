"""The command ``claims``: the ledger line by line, its check, and the rewriting of its statuses."""

from collections import Counter

import click

from dashbook import claims as book
from dashbook import ledger


@click.command()
@click.option("--write", is_flag=True, help="Rewrite the statuses in results/claims.toml.")
def claims(write: bool) -> None:
    """Show the ledger of claims; fails if a status does not follow from the stored runs."""
    try:
        changed = book.write() if write else 0
        judgements = book.judgements(book.load())
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(ledger.lines(judgements)))
    counts = Counter(verdict.status for _, _, verdict in judgements)
    click.echo(", ".join(f"{counts[s]} {s}" for s in book.STATUSES if counts[s]))
    if write:
        click.echo(f"{changed} statuses changed in {book.path()}")
    wrong = [one for _, one, verdict in judgements if one.status != verdict.status]
    if wrong:
        raise click.ClickException(
            f"{len(wrong)} statuses do not follow from the stored runs (^): "
            "`python -m dashbook claims --write` rewrites them"
        )
