"""The group of all commands."""

from importlib import import_module

import click

from dashlib import __version__
from dashlib.cli import evaluate, runs, sample, train
from dashlib.scale.distributed import lone_process

MOVED = {  # commands that are no longer the library's: where each lies, and how it is called now
    "claims": ("dashbook.__main__", "claims", "python -m dashbook claims"),
    "repair": ("dashbook.atlas", "repair", "python -m dashbook repair"),
    "bench": ("benchmarks.bench", "main", "python -m benchmarks.bench"),
    "statistics": (
        "benchmarks.reference_statistics",
        "main",
        "python -m benchmarks.reference_statistics",
    ),
    "sweep": ("benchmarks.sweep.__main__", "sweep_runs", "python -m benchmarks.sweep"),
}


class WithFormerCommands(click.Group):
    """A group that still knows its former commands, where their code is at hand."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name; a former one warns."""
        if name not in MOVED:
            return super().get_command(ctx, name)
        module, attribute, today = MOVED[name]
        try:
            command: click.Command = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name != module.split(".")[0]:
                raise
            raise click.UsageError(f"`{name}` is now `{today}`, which is not installed") from error
        click.echo(f"warning: `python -m dashlib {name}` is now `{today}`", err=True)
        return command


@click.group(cls=WithFormerCommands)
@click.version_option(__version__)
def main() -> None:
    """Train, verify, list and convert the models of the DASH book."""
    if message := lone_process():
        click.echo(f"warning: {message}", err=True)


for found in (runs, train, sample, evaluate):
    for command in vars(found).values():
        if isinstance(command, click.Command):
            main.add_command(command)
