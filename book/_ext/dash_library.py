"""The pages of the library: what autodoc shows badly is put right, and commands show their help.

Signatures name no object by its place in memory or its type, classes do not list the bases that
say nothing, and the fields of a named tuple, which its signature has, are not listed again.
`{commands}` writes the help of every command of `python -m dashlib`.
"""

import re
from collections.abc import Sequence
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from dashlib.__main__ import main

NAME = "python -m dashlib"
SILENT = {"Bases: object", "Bases: NamedTuple"}


def plain_signature(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:  # fmt: skip
    """Write `...` for a default that has no text of its own, and names without their modules."""
    if not signature:
        return None
    shown = re.sub(r"<(?:built-in )?(?:function|class) '?([\w.]+)[^<>]*>", r"\1", signature)
    shown = re.sub(r"<(?:[^<>]|<[^<>]*>)*>", "...", shown).replace("PosixPath(", "Path(")
    return re.sub(r"~(?:\w+\.)*", "", shown), returns


def skip_field(
    _app: Sphinx, _what: str, _name: str, obj: object, skip: bool, _options: object
) -> bool | None:
    """Skip the fields of named tuples; leave all else to autodoc."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def drop_bases(_app: Sphinx, tree: nodes.document) -> None:
    """Remove the lines about bases that every class or tuple has."""
    for line in [*tree.findall(nodes.paragraph)]:
        if line.astext() in SILENT:
            line.parent.remove(line)


def code(text: str) -> nodes.literal:
    """Set a text as code."""
    return nodes.literal(text, text)


def inline(text: str) -> list[nodes.Node]:
    """Set what stands between backticks as code."""
    return [code(of) if i % 2 else nodes.Text(of) for i, of in enumerate(text.split("`"))]


def options_of(records: Sequence[tuple[str, str]]) -> nodes.definition_list:
    """List options, `(--name TYPE, help)`, as terms with what they mean."""
    listed = nodes.definition_list()
    for term, text in records:
        meaning = nodes.definition("", nodes.paragraph("", "", *inline(text)))
        listed += nodes.definition_list_item("", nodes.term("", "", code(term)), meaning)
    return listed


def help_of(command: click.Command, parent: click.Context) -> nodes.section:
    """Write a section: how a command is called, its help and its options."""
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = f"{NAME} {command.name} {' '.join(command.collect_usage_pieces(context))}"
    name = str(command.name)
    section = nodes.section("", nodes.title("", "", code(name)), ids=[f"command-{name}"])
    section["support_smartquotes"] = False  # two hyphens are two
    section += nodes.literal_block(usage, usage, language="text", classes=["usage"])
    for part in (command.help or "").split("\n\n"):
        section += nodes.paragraph(text=" ".join(part.split()))
    options = [of for of in command.get_params(context) if isinstance(of, click.Option)]
    records = [option.get_help_record(context) for option in options]
    section += options_of([record for record in records if record])
    return section


class Commands(SphinxDirective):
    """The help of every command."""

    def run(self) -> list[nodes.Node]:
        """Write a section a command, in the order of the alphabet."""
        self.env.note_reread()
        context = click.Context(main, info_name=NAME, **main.context_settings)
        return [help_of(main.commands[name], context) for name in sorted(main.commands)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Listen to autodoc, and add the directive."""
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("doctree-read", drop_bases)
    app.add_directive("commands", Commands)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
