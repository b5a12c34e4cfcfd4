"""The ledger of claims: every status follows from the stored runs by a rule, and none is stored."""

import inspect
import re
import tomllib
from functools import partial
from math import inf, log
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from dashbook import claims, plots
from dashbook.__main__ import main
from dashbook.claims import MEASURED, NOT_TESTED, Judgement
from dashbook.measurements import Estimate, Part
from dashbook.paper import FURTHER, NAMES, PAPER, UNCONDITIONAL_SHARE
from dashbook.tables import frechet, markdown
from dashlib.recipes import SCALES

TEXT = claims.path().read_text()


@pytest.fixture(scope="module")
def book():
    return claims.load()


@pytest.fixture(scope="module")
def judgements():
    return claims.judgements()


@pytest.fixture
def tampered(run_folder, monkeypatch):
    """A function that stores an edited copy of the ledger where dashlib looks for it."""

    def edit(old="", new=""):
        assert old in TEXT
        (run_folder / "claims.toml").write_text(TEXT.replace(old, new, 1))

    return edit


def spread(value: float, half: float, word: str = "") -> Estimate:
    """An estimate of three seeds with this interval, or of one with none."""
    d = half * 3**0.5 / 4.302652729911275
    values = (value,) if half == inf else (value - d, value, value + d)
    return Estimate(values, (Part("row", values), Part("dash", (1.0,))), word)


@pytest.mark.parametrize(
    ("word", "holds"),
    [("worse", True), ("better", False), ("equal", False), ("undecided", None)],
)
def test_a_comparison_has_the_verdict_of_its_seeds(word, holds):
    assert claims.WORSE(spread(1.0, 0.1, word)) is holds


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        (claims.above(0), 0, inf),
        (claims.between(-inf, 0.35), -inf, 0.35),
        (claims.between(0.35, 0.85), 0.35, 0.85),
        (claims.near(200, 10), 180, 220),
        (claims.near(35.75e6, 0.1), 35_714_250, 35_785_750),
    ],
)
def test_accepted_intervals(rule, low, high):
    for bound, outward in ((low, -1), (high, 1)):
        if abs(bound) < inf:
            step = outward * 1e-6 * (abs(bound) or 1)
            assert rule(Estimate((bound + step,))) is False
            assert rule(Estimate((bound - step,))) is True
    assert rule(spread(max(low, -1e9) + 1e-3, inf)) is None


def test_what_is_asked_of_cifar10_is_asked_of_a_measured_claim(judgements):
    assert set(claims.AT_CIFAR10) <= set(MEASURED)
    found = [one for one in judgements if one.scale == "cifar10"]
    own = [one for name in ("cost", "v-colour", "v-data") for one in MEASURED[name][1]]
    assert len(found) == len(own) + sum(map(len, claims.AT_CIFAR10.values()))
    for one in found:
        seeds = max(len(part.values) for part in one.estimate.parts)
        decided = one.status != claims.SMALL[None]
        assert decided <= (seeds >= 3), "below three seeds nothing is decided"


def test_the_verdicts_of_the_equal_cost_and_of_colour(judgements):
    """DASH's lead does not stand; v has the data's colours; two pairs of seeds decide nothing."""
    of = {(one.claim.id, one.argument("row")): one for one in judgements}
    for row in ("cond_only_dropout", "dash_sampled"):
        assert of["cost", f"{row}_v-high_noise"].status == claims.SMALL[False]
        assert of["cost", f"{row}-high_noise"].status == claims.SMALL[None]
        assert of["v-data", f"{row}_v-high_noise"].status == claims.SMALL[True]
        assert of["v-colour", f"{row}_v-high_noise"].status == claims.SMALL[None]
    assert of["v-colour", "dash_v-high_noise"].status == claims.SMALL[True]
    assert of["v-data", "dash_v-high_noise"].status == claims.SMALL[None]
    assert "Teacher: 20.8; n = 3" in of["fd-teacher", "dash_v-high_noise"].ours


def test_a_status_follows_from_the_rule():
    claim = next(c for c in claims.load() if c.id == "rho-dash")

    def status(value, error, scale="digits"):
        def question(**_):
            return spread(value, error) if scale else Estimate((value,))

        known = partial(question, scale=scale) if scale else partial(question)
        return claims.judge(claim, known).status

    assert status(1.0, 0.01) == "agrees at small scale"
    assert status(2.0, 0.01) == "disagrees at small scale"
    assert status(1.0, 0.2) == "undecided at small scale"
    assert status(1.0, 0.0, scale="") == "reproduced"
    assert status(2.0, 0.0, scale="") == "not reproduced"


def test_without_runs_nothing_small_is_tested(tampered):
    tampered()
    small = [one for one in claims.judgements() if one.scale in SCALES]
    assert {one.status for one in small} == {NOT_TESTED}
    assert all("stored for" in one.reason for one in small)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('words = "ρ is below 0.35: the gap has collapsed."\n', "", "needs its rule in words"),
        ('stated = ["README"]', 'stated = ["page 7"]', "stated page 7: of abstract"),
        ('dataset = "CIFAR-10"\n', "", "'dataset'"),
        ('value = "35.75M"', 'price = "35.75M"', "'price'"),
        ('id = "compression"\n', "", "claim 'without id'"),
        ('settle = "cifar"', 'settle = "luck"', "settle 'luck': one of digits"),
        ('id = "rho-composite"', 'id = "rho-dash"', "one claim is called rho-composite, rho-dash"),
        ('path = "student.train.lr"', 'path = "student.train.clip"', "two sides that differ"),
    ],
)
def test_a_ledger_that_is_not_well_formed_is_an_error(tampered, old, new, message):
    tampered(old, new)
    with pytest.raises(ValueError, match=re.escape(message)):
        (claims.load(), claims.settings())


def test_errors_name_the_claim(tampered):
    tampered('words = "ρ is below 0.35: the gap has collapsed."\n')
    with pytest.raises(ValueError, match="claim 'rho-cond-only'"):
        claims.load()


def test_every_row_of_the_papers_table_appears(judgements):
    rows = {one.argument(key) for one in judgements for key in ("row", "over")}
    rows |= {rival for one in judgements for rival in one.argument("rivals")}
    assert {*PAPER, *FURTHER} <= rows


def test_the_papers_values_are_those_of_the_paper_module(book):
    value = {claim.id: claim.value for claim in book}
    scratch, dash, teacher = (PAPER[row] for row in ("scratch", "dash", "teacher"))
    for key, row in (PAPER | FURTHER).items():
        name = key.replace("_", "-")
        if row.rhos and key != "teacher":
            assert value[f"rho-{name}"] == row.rhos
        if key not in ("dash", "teacher"):
            assert value[f"fd-{name}"] == f"{row.fids}, not {dash.fids}"
    assert value["share-un-gap"] == " / ".join(f"{100 * s:.0f} %" for s in UNCONDITIONAL_SHARE)
    shares = [
        (getattr(scratch, fid) - getattr(dash, fid))
        / (getattr(scratch, fid) - getattr(teacher, fid))
        for fid in ("fid_cifar10", "fid_cifar100")
    ]
    assert value["recovered"] == " / ".join(f"{100 * s:.0f} %" for s in shares)


def test_the_bounds_on_rho_lie_between_the_papers_groups():
    low, high = (0.09 + 0.61) / 2, (0.81 + 0.89) / 2
    assert (-inf, pytest.approx(low)) == claims.COLLAPSED
    assert pytest.approx((low, high)) == claims.SHORTENED
    assert pytest.approx((high, 1 / high), abs=0.005) == claims.KEPT
    kept, shortened = MEASURED["rho-dash"][0], MEASURED["rho-composite"][0]
    found = [
        rule(Estimate((rho,))) for rule in (kept, shortened) for rho in (0.34, 0.36, 0.86, 1.19)
    ]
    assert found == [False, False, True, False, False, True, False, False]


def test_no_measurement_is_typed():
    """The file holds words; numbers of ours come from a measure only."""
    for entry in tomllib.loads(TEXT)["claim"]:
        assert not [v for v in entry.values() if isinstance(v, (int, float))]
        assert "status" not in entry


def test_reproduced_is_for_what_was_tested_as_stated(judgements):
    for one in judgements:
        assert (one.scale == "as stated") == (one.scale not in SCALES)
        if one.status in ("reproduced", "not reproduced"):
            assert one.scale == "as stated"
            assert one.estimate.parts == (), "counted or timed, not trained"


def test_samples_are_judged_under_tag():
    """The paper's w = 4.0 is TAG; the choice was made before the judgements."""
    asked = [question for _, questions in MEASURED.values() for question in questions]
    assert not [one for one in asked if "w" in one.keywords]
    for measure in {one.func for one in asked}:
        w = inspect.signature(measure).parameters.get("w")
        assert w is None or w.default == "TAG"
    values = {one.keywords["value"] for one in asked if "value" in one.keywords}
    assert values == {claims.TAG, claims.RHO, claims.GAP_MSE}
    assert claims.TAG(SimpleNamespace(metrics={"guidance": {"TAG": {"frechet": 7.0}}})) == 7.0


def test_a_judgement_can_be_asked_at_another_scale_or_certainty(book):
    (claim,) = (claim for claim in book if claim.id == "fd-composite")
    (question,) = claim.questions
    assert claims.judge(claim, question).status == "agrees at small scale"
    assert (
        claims.judge(claim, partial(question, value=frechet("4"))).status
        == "undecided at small scale"
    )
    certain = partial(question, level=0.999)
    assert claims.judge(claim, certain).status == "undecided at small scale"


def test_what_is_not_measured_is_not_tested(book):
    (claim,) = (claim for claim in book if claim.id == "imagenet-size")
    verdict = Judgement(claim, NOT_TESTED, reason="not measured in this book")
    assert claims.judge(claim, None) == verdict
    assert (verdict.scale, verdict.argument("row")) == ("as stated", "")


def test_settings_are_read_where_they_are_encoded():
    found = {
        name: (readme, configurations) for name, readme, configurations, _ in claims.settings()
    }
    assert found["student: learning rate"] == ("0.0001", "0.0002")
    assert found["student: steps"] == ("234,000", "190,080")


def test_the_table_shows_claims_rules_and_numbers(judgements):
    text = claims.table("guidance gap", judgements)
    lines = text.splitlines()
    count = sum(one.claim.theme == "guidance gap" for one in judgements)
    assert len(lines) == 2 + count
    assert "0.91 / 0.89 (CIFAR-10 / CIFAR-100; abstract, README)" in text
    shortened = next(one.claim for one in judgements if one.claim.id == "rho-composite").words
    assert text.count(shortened) == 1, "a rule is not repeated"
    with pytest.raises(ValueError, match="one of size and cost"):
        claims.table("weather", judgements)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.9123, 3, "0.912"), (44.33, 3, "44.3"), (1244.37, 3, "1,244.4"), (84.6, 2, "85"),
        (35_751_939, 3, "35,751,939"), (169.4, 2, "169"), (float("nan"), 3, "not defined"),
    ],
)  # fmt: skip
def test_numbers(value, digits, text):
    assert claims.number(value, digits) == text


def test_rivals_are_drawn_over_dash_in_the_colour_of_the_verdict() -> None:
    ends = {"scratch": (2, "worse"), "composite": (0.5, "better"), "cond_only": (3, "undecided")}
    found = {row: spread(log(of), log(1.2), word) for row, (of, word) in ends.items()}
    (ax,) = claims.ratio_forest(found, 0.95).axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_xdata().item() for dot in dots] == pytest.approx([2, 0.5, 3])
    assert [dot.get_color() for dot in dots] == [plots.JUDGED[k] for k in (True, False, None)]
    bars = [line for line in ax.lines if len(set(line.get_xdata())) == 2]
    assert bars[0].get_xdata() == pytest.approx([2 / 1.2, 2 * 1.2])
    assert ax.get_yticklabels()[0].get_text() == NAMES["scratch"]


def test_a_comparison_is_shown_as_a_ratio() -> None:
    values = (log(2), log(2), log(2))
    parts = (Part("scratch", (20.0, 22.0, 24.0)), Part("dash-uniform-from_uniform", (10.0,) * 3))
    text = claims.shown(Estimate(values, parts, "worse"))
    assert text == (
        "2.00 times [2.00, 2.00] "
        "(Scratch: 22.0 ± 2.0; DASH uniform, sound teacher: 10.0 ± 0.0; n = 3)"
    )


def test_gap_lengths_shows_every_seed_beside_the_papers_bar() -> None:
    published = {"cond_only": (0.08, 0.09), "dash": (0.89, 0.91)}
    groups = {"collapsed": (0.06, 0.35), "shortened": (0.35, 0.85), "kept": (0.85, 1.18)}
    measured = {"cond_only": (2.0, 2.1), "dash": (0.9,)}
    ax = claims.gap_lengths(published, groups, measured).axes[0]
    bars = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() == "|"]
    assert bars == list(published.values())
    dots = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() == "o"]
    assert dots == [(2.0, 2.1), (0.9,)]
    assert [text.get_text() for text in ax.texts] == list(groups)


def test_the_command_shows_the_ledger_with_its_statuses():
    result = CliRunner().invoke(main, ["claims"])
    assert result.exit_code == 0, result.output
    line = next(line for line in result.output.splitlines() if line.startswith("rho-composite "))
    assert "disagrees at small scale" in line
    assert "6 reproduced" in result.output


def test_a_broken_or_missing_ledger_is_a_plain_error(tampered, run_folder):
    missing = CliRunner().invoke(main, ["claims"])
    assert "claims.toml" in missing.output
    tampered('stated = ["README"]', 'stated = ["page 7"]')
    broken = CliRunner().invoke(main, ["claims"])
    assert "stated page 7" in broken.output
    for result in (missing, broken):
        assert result.exit_code == 1
        assert "Traceback" not in result.output


def test_html_in_a_cell_is_text():
    table = markdown(["a"], [["<script>alert(1)</script> <img src=x onerror=y> x<1, $a<b$"]])
    assert "<script" not in table
    assert "<img" not in table
    assert "&lt;script>alert(1)&lt;/script>" in table
    assert "x<1" in table
