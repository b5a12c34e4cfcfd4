"""The icons that are left out of the built book: those that no page names."""

import re

from fontTools.ttLib import TTFont

from dash_light import FONTS, NAME, RULE, SHEET_TEXT, SOURCE, THEME, icons, light, only, write_font


def test_an_icon_that_is_named_stays_and_the_others_go():
    sheet = only({"sun"}, SHEET_TEXT)
    assert len(RULE.findall(SHEET_TEXT)) > 1000
    assert {name for rule in RULE.findall(sheet) for name in NAME.findall(rule)} == {"sun"}
    assert "@font-face" in sheet
    assert ".fa-lg{" in sheet


def test_with_every_name_nothing_goes():
    every = {name.removeprefix("fa-") for name in re.findall(r"[a-z0-9-]+", SHEET_TEXT)}
    assert only(every, SHEET_TEXT) == SHEET_TEXT


def test_a_rule_of_several_names_stays_for_one_of_them():
    sheet = '.fa-a:before,.fa-b:before{content:"1"}.fa-c:before{content:"2"}'
    assert only({"b"}, sheet) == '.fa-a:before,.fa-b:before{content:"1"}'


def test_icons_of_a_sheet_are_found_in_both_ways_of_writing_them():
    assert icons('a{content:"\\f185"}b{content:"\uf058"}c{content:"x\\201c"}') == {0xF185, 0xF058}


def test_the_font_holds_the_icons_asked_for_and_is_small(tmp_path):
    write_font("fa-solid-900", {0xF185, 0xF058}, tmp_path)
    path = tmp_path / "fa-solid-900.woff"
    assert {0xF185, 0xF058} == TTFont(path).getBestCmap().keys()
    assert path.stat().st_size < 5000 < (THEME / FONTS / "fa-solid-900.woff2").stat().st_size


def test_the_theme_names_three_fonts():
    assert SOURCE.findall(SHEET_TEXT) == ["fa-solid-900", "fa-regular-400", "fa-brands-400"]


def test_a_page_loads_what_draws_cards_if_it_has_some():
    heads = [
        '<link rel="stylesheet" type="text/css" href="_static/sphinx-design.min.css?v=6a6045" />',
        '<script data-sd-tabs-storage-prefix="sd-" src="_static/design-tabs.js?v=fc"></script>',
        '<script src="../searchindex.js"></script>',
        '<link rel="stylesheet" type="text/css" href="_static/book.css?v=1" />',
    ]
    page = "\n".join([*heads, '<div class="{}">kept</div>'])
    plain, cards = (page.format(of) for of in ("note", "docutils sd-card"))
    assert light(plain, search=False) == f'\n{heads[3]}\n<div class="note">kept</div>'
    assert light(plain, search=True) == "\n".join(["", *heads[2:], plain.split("\n")[-1]])
    assert light(cards, search=False) == cards.replace("\n" + heads[2], "")
