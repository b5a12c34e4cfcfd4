"""The ledger of claims: every status follows from the stored runs, and tampering is caught."""

import re
import tomllib

import pytest

from dashbook import claims, ledger
from dashbook.claims import NOT_TESTED, Judged, LedgerError, Verdict
from dashbook.paper import FURTHER, PAPER, UNCONDITIONAL_SHARE
from dashbook.rules import accepts
from dashlib.recipes import SCALES

TEXT = claims.path().read_text()


@pytest.fixture(scope="module")
def book():
    return claims.load()


@pytest.fixture(scope="module")
def judgements(book):
    return claims.judgements(book)


@pytest.fixture
def tampered(run_folder, monkeypatch):
    """A function that stores an edited copy of the ledger where dashlib looks for it."""

    def edit(old="", new=""):
        assert old in TEXT
        (run_folder / "claims.toml").write_text(TEXT.replace(old, new, 1))

    return edit


def test_every_status_follows_from_the_stored_numbers(judgements):
    wrong = [(c.id, one, v) for c, one, v in judgements if one.status != v.status]
    assert not wrong, "run `python -m dashbook claims --write`"


def test_a_tampered_status_is_caught(judgements, monkeypatch, run_folder):
    name, old = 'id = "rho-dash"', f'"{claims.OUTCOMES["small"][True]}"'
    start = TEXT.index(name)
    broken = TEXT[:start] + TEXT[start:].replace(old, f'"{claims.OUTCOMES["small"][False]}"', 1)
    assert broken != TEXT
    verdicts = iter([verdict for _, _, verdict in judgements])
    monkeypatch.setattr(claims, "judge", lambda one: next(verdicts))
    (run_folder / "claims.toml").write_text(broken)
    (found,) = claims.check()
    assert found.startswith("rho-dash (digits)")
    assert "'disagrees at small scale' is stated, 'agrees at small scale' follows" in found


def test_without_runs_nothing_small_is_tested(tampered):
    tampered()
    small = [v for _, one, v in claims.judgements(claims.load()) if one.scale in SCALES]
    assert {v.status for v in small} == {NOT_TESTED}
    assert all("stored for" in v.reason for v in small)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('measure = "gap_ratio"', 'measure = "gap_length"', "unknown measure 'gap_length'"),
        ('rule = "below 0.35"', 'rule = "quite low"', "rule 'quite low': above X"),
        ('rule = "below 0.35"\n', "", "needs its rule"),
        ('row = "dash"\n', "", "gap_ratio takes scale, row"),
        ('row = "dash"\n', 'row = "dash"\nw = "4"\n', "gap_ratio takes scale, row"),
        ('stated = ["README"]', 'stated = ["page 7"]', "stated page 7: of abstract"),
        ('dataset = "CIFAR-10"\n', "", "missing field dataset"),
        ('settle = "cifar"', 'settle = "luck"', "settle 'luck': one of digits"),
        ('scale = "digits"', 'scale = "mnist"', "scale 'mnist': one of digits"),
        ('status = "agrees at small scale"', 'status = "true"', "unknown status 'true'"),
        ('id = "rho-composite"', 'id = "rho-dash"', "more than one claim is called rho-dash"),
        ('path = "student.train.lr"', 'path = "student.train.clip"', "two sides that differ"),
    ],
)
def test_a_ledger_that_is_not_well_formed_is_an_error(tampered, old, new, message):
    tampered(old, new)
    with pytest.raises(LedgerError, match=re.escape(message)):
        claims.load()


def test_errors_name_the_claim(tampered):
    tampered('rule = "below 0.35"', 'rule = "quite low"')
    with pytest.raises(LedgerError, match="claim 'rho-cond-only'"):
        claims.load()


def test_write_changes_statuses_only(tampered):
    tampered()
    assert claims.write() > 0
    after = claims.path().read_text()
    assert claims.check() == []
    assert claims.write() == 0
    differing = [
        (a, b) for a, b in zip(TEXT.splitlines(), after.splitlines(), strict=True) if a != b
    ]
    assert differing
    blank = re.compile('status = "[^"]*"')
    assert all(blank.sub("", a) == blank.sub("", b) for a, b in differing)


def test_every_row_of_the_papers_table_appears(book):
    named = [one.arguments for claim in book.claims for one in claim.judged]
    rows = {a.get(key) for a in named for key in ("row", "over")}
    rows |= {rival for a in named for rival in a.get("rivals", ())}
    assert {*PAPER, *FURTHER} <= rows


def test_the_papers_values_are_those_of_the_paper_module(book):
    value = {claim.id: claim.value for claim in book.claims}
    dash = PAPER["dash"]
    for key, row in (PAPER | FURTHER).items():
        name = key.replace("_", "-")
        if row.rho_cifar10 is not None and key != "teacher":
            assert value[f"rho-{name}"] == f"{row.rho_cifar10:.2f} / {row.rho_cifar100:.2f}"
        if key not in ("dash", "teacher"):
            theirs = f"{row.fid_cifar10:.2f} / {row.fid_cifar100:.2f}"
            ours = f"{dash.fid_cifar10:.2f} / {dash.fid_cifar100:.2f}"
            assert value[f"fd-{name}"] == f"{theirs}, not {ours}"
    assert value["share-un-gap"] == " / ".join(f"{100 * s:.0f} %" for s in UNCONDITIONAL_SHARE)
    shares = [
        (PAPER["scratch"].fid_cifar10 - dash.fid_cifar10)
        / (PAPER["scratch"].fid_cifar10 - PAPER["teacher"].fid_cifar10),
        (PAPER["scratch"].fid_cifar100 - dash.fid_cifar100)
        / (PAPER["scratch"].fid_cifar100 - PAPER["teacher"].fid_cifar100),
    ]
    assert value["recovered"] == " / ".join(f"{100 * s:.0f} %" for s in shares)


def test_the_bounds_on_rho_lie_between_the_papers_groups(book):
    rules = {claim.id: claim.judged[0].rule for claim in book.claims}
    low, high = (0.09 + 0.61) / 2, (0.81 + 0.89) / 2
    assert accepts(rules["rho-cond-only"])[1] == pytest.approx(low)
    assert accepts(rules["rho-composite"]) == pytest.approx((low, high))
    assert accepts(rules["rho-dash"]) == pytest.approx((high, 1 / high), abs=0.005)


def test_no_measurement_is_typed(book):
    """A claim holds strings and a rule; numbers of ours come from a measure only."""
    for entry in tomllib.loads(TEXT)["claim"]:
        found = [*entry.values(), *(v for one in entry["judged"] for v in one.values())]
        assert not [v for v in found if isinstance(v, (int, float))]
        assert {k for one in entry["judged"] for k in one} <= {"scale", "row", "status"}


def test_reproduced_is_for_what_was_tested_as_stated(judgements):
    for _, one, verdict in judgements:
        assert (one.scale == "paper") == (one.scale not in SCALES)
        if verdict.status in ("reproduced", "not reproduced"):
            assert one.scale == "paper"
            assert verdict.estimate.parts == (), "counted or timed, not trained"


def test_samples_are_judged_under_tag(book):
    """The paper's w = 4.0 is TAG; the choice was made before the judgements."""
    ws = {one.arguments["w"] for c in book.claims for one in c.judged if "w" in one.arguments}
    assert ws == {"TAG"}


def test_a_judgement_can_be_asked_at_another_scale_or_certainty(book):
    (claim,) = (claim for claim in book.claims if claim.id == "fd-composite")
    digits = claim.judged[0]
    assert claims.judge(digits).status == "agrees at small scale"
    assert claims.judge(digits, w="4").status == "undecided at small scale"
    assert claims.judge(digits, errors=100).status == "undecided at small scale"


def test_what_is_not_measured_is_not_tested():
    assert claims.judge(Judged("paper", NOT_TESTED)) == Verdict(
        NOT_TESTED, reason="not measured in this book"
    )


def test_settings_are_read_where_they_are_encoded(book):
    found = {s.name: (s.readme, s.configurations) for s in book.settings}
    assert found["student: learning rate"] == ("0.0001", "0.0002")
    assert found["student: steps"] == ("234,000", "190,080")


def test_the_table_shows_claims_rules_and_numbers(judgements):
    text = ledger.table("guidance gap", judgements)
    lines = text.splitlines()
    count = sum(claim.theme == "guidance gap" for claim, _, _ in judgements)
    assert len(lines) == 2 + count
    assert "0.91 / 0.89 (CIFAR-10 / CIFAR-100; abstract, README)" in text
    shortened = next(c for c, _, _ in judgements if c.id == "rho-composite").words
    assert text.count(shortened) == 1, "a rule is not repeated"
    with pytest.raises(ValueError, match="one of size and cost"):
        ledger.table("weather", judgements)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.9123, 3, "0.912"), (44.33, 3, "44.3"), (1244.37, 3, "1,244.4"), (84.6, 2, "85"),
        (35_751_939, 3, "35,751,939"), (169.4, 2, "169"), (float("nan"), 3, "not defined"),
    ],
)  # fmt: skip
def test_numbers(value, digits, text):
    assert ledger.number(value, digits) == text
