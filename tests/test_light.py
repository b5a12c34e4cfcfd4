"""The icons that are left out of the built book: those that no page names."""

import re

import pytest

from dash_light import FILES, NAME, THEME, only

SCRIPT, SHEET = ((THEME / file).read_text() for file in FILES)
ICON, RULE = FILES.values()


def test_an_icon_that_is_named_stays_and_the_others_go():
    script = only({"sun"}, SCRIPT, ICON)
    assert {found[1] for found in ICON.finditer(script)} == {"sun"}
    assert len(script) < len(SCRIPT) / 10
    sheet = only({"sun"}, SHEET, RULE)
    assert len(RULE.findall(SHEET)) > 1000
    assert {name for rule in RULE.findall(sheet) for name in NAME.findall(rule)} == {"sun"}
    assert "@font-face" in sheet
    assert ".fa-lg{" in sheet


@pytest.mark.parametrize(("text", "entry"), [(SCRIPT, ICON), (SHEET, RULE)])
def test_with_every_name_nothing_goes(text, entry):
    every = {name.removeprefix("fa-") for name in re.findall(r"[a-z0-9-]+", text)}
    assert only(every, text, entry) == text


def test_a_rule_of_several_names_stays_for_one_of_them():
    sheet = '.fa-a:before,.fa-b:before{content:"1"}.fa-c:before{content:"2"}'
    assert only({"b"}, sheet, RULE) == '.fa-a:before,.fa-b:before{content:"1"}'
