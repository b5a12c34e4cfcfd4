"""The pages of the library: signatures as people write them, commands with their help."""

from types import SimpleNamespace
from typing import NamedTuple

import pytest
from dash_library import NAME, Commands, drop_bases, plain_signature, skip_field
from docutils import nodes
from docutils.utils import new_document

from dashlib.__main__ import main


class Pair(NamedTuple):
    left: int


@pytest.mark.parametrize(
    ("signature", "shown"),
    [
        ("(warn: ~collections.abc.Callable = <built-in function warn>)", "(warn: Callable = warn)"),
        ("(of: dict[str, ~torch.Tensor] = <factory>)", "(of: dict[str, Tensor] = ...)"),
        ("(at: object = <object object at 0x7f00>)", "(at: object = ...)"),
        ("(kind: type = <class 'int'>)", "(kind: type = int)"),
        ("(of: object = <function <lambda>>)", "(of: object = ...)"),
        ("(at: Path = PosixPath('data'))", "(at: Path = Path('data'))"),
        ("(n: int = 3)", "(n: int = 3)"),
    ],
)
def test_a_signature_names_what_it_can_and_no_place_in_memory(signature, shown):
    found = plain_signature(None, "function", "f", None, None, signature, "None")
    assert found == (shown, "None")
    assert plain_signature(None, "data", "d", None, None, None, None) is None


def test_fields_of_a_named_tuple_are_skipped_and_its_methods_are_not():
    assert skip_field(None, "class", "left", vars(Pair)["left"], False, None) is True
    assert skip_field(None, "class", "count", Pair.count, False, None) is None


def test_only_bases_that_say_nothing_go():
    tree = new_document("page")
    tree += [nodes.paragraph(text=f"Bases: {name}") for name in ("object", "Objective")]
    drop_bases(None, tree)
    assert [line.astext() for line in tree] == ["Bases: Objective"]


def test_every_command_is_shown_with_its_call_its_help_and_all_its_options():
    directive = SimpleNamespace(env=SimpleNamespace(note_reread=lambda: None))
    sections = Commands.run(directive)
    assert [of[0].astext() for of in sections] == sorted(main.commands)
    for section in sections:
        command = main.commands[section[0].astext()]
        assert section[1].astext().startswith(f"{NAME} {command.name} [OPTIONS]")
        assert section[2].astext().split() == command.help.split("\n\n")[0].split()
        terms = " ".join(term.astext() for term in section.findall(nodes.term))
        options = {name for of in command.params for name in of.opts if name.startswith("--")}
        assert {name for name in options if name not in terms} == set()
    said = sections[sorted(main.commands).index("evaluate")].astext()
    assert "50000" in said, "defaults are shown"
