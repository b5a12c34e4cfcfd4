"""The group of all commands."""

import sys

from dashlib import __version__
from dashlib.extras import MissingExtra, what_to_install

try:
    with what_to_install():
        import click

        from dashlib.cli import runs, sample, train
except MissingExtra as missing:
    sys.exit(f"error: {missing}")


@click.group(cls=sample.Commands, context_settings={"show_default": True})
@click.version_option(__version__)
def main() -> None:
    """Train, verify, list and convert the models of the DASH book."""


for command in (of for module in (runs, train, sample) for of in vars(module).values()):
    if isinstance(command, click.Command):
        main.add_command(command)
