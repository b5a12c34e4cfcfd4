"""``python -m dashlib``: the group of all commands."""

import sys
from pkgutil import resolve_name

from dashlib import __version__
from dashlib.extras import MissingExtra, what_to_install

try:
    with what_to_install():
        import click

        from dashlib.cli import runs, sample, train
        from dashlib.scale.distributed import lone_process
except MissingExtra as missing:
    sys.exit(f"error: {missing}")

MOVED = {  # commands that are no longer the library's, and where each lies
    "claims": "dashbook.__main__:claims",
    "repair": "benchmarks.repair:main",
    "bench": "benchmarks.bench:main",
    "statistics": "benchmarks.reference_statistics:main",
    "sweep": "benchmarks.sweep.__main__:sweep_runs",
}


class WithFormerCommands(click.Group):
    """A group that still knows its former commands, where their code is at hand."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name; a former one warns."""
        if name not in MOVED:
            return super().get_command(ctx, name)
        module, _, attribute = MOVED[name].partition(":")
        today = f"python -m {module.removesuffix('.__main__')}" + f" {name}" * (attribute == name)
        try:
            command: click.Command = resolve_name(MOVED[name])
        except ModuleNotFoundError as error:
            raise click.UsageError(f"`{name}` is now `{today}`, but {error}") from error
        click.echo(f"warning: `python -m dashlib {name}` is now `{today}`", err=True)
        return command


@click.group(cls=WithFormerCommands, context_settings={"show_default": True})
@click.version_option(__version__)
def main() -> None:
    """Train, verify, list and convert the models of the DASH book."""
    if message := lone_process():
        click.echo(f"warning: {message}", err=True)


for command in (of for module in (runs, train, sample) for of in vars(module).values()):
    if isinstance(command, click.Command):
        main.add_command(command)

if __name__ == "__main__":
    main()
