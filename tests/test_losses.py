"""Objectives: their terms, and what each leaves undetermined in the plane of branch errors."""

from dataclasses import replace

import pytest
import torch

from dashlib.data import Batch
from dashlib.guidance import Branches
from dashlib.losses import OBJECTIVES, make_objective, mse, teacher_of

PLAIN = [name for name in OBJECTIVES if name != "fitnets"]  # fitnets: tests/test_fitnets.py
WITH_TEACHER = [name for name in PLAIN if name != "scratch"]
BOTH = ("composite", "multi_w", "gap_match", "dash", "dash_sampled")  # train the null branch
TERMS = {
    "scratch": {"denoising"},
    "cond_only": {"imitation"},
    "cond_only_dropout": {"imitation"},
    "composite": {"composite"},
    "multi_w": {"composite"},
    "gap_match": {"gap"},
    "single_head": {"guided"},
    "dash": {"imitation", "unconditional", "anchor"},
    "dash_sampled": {"sampled"},
}


@pytest.fixture
def batch():
    """Four noisy images with a teacher; the first two have their label dropped."""
    x, y = torch.randn(4, 1, 2, 2), torch.arange(4)
    teacher = Branches(torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2))
    dropped = torch.tensor([10, 10, 2, 3])
    return Batch(x, torch.arange(4), y, dropped, torch.randn(4, 1, 2, 2), teacher)


@pytest.fixture
def student(fixed):
    """A student with given branch errors: ``student(batch, e_c, e_u)``.

    Asked at a scale w, it answers ``T_w + e_c`` and notes w in ``scales``.
    """

    def make(batch, e_c=0.0, e_u=0.0):
        both = Branches(batch.teacher.cond + e_c, batch.teacher.uncond + e_u)
        model = fixed(both.cond, both.uncond)
        # one forward of 2B asks for the same images twice
        doubled = fixed(both.cond.repeat(2, 1, 1, 1), both.uncond.repeat(2, 1, 1, 1))

        def call(x_t, t, y, w=None):
            if w is not None:
                call.scales.append(w)
                return batch.teacher.guided(w) + e_c
            return (doubled if len(x_t) == 2 * len(batch.x_t) else model)(x_t, t, y)

        call.null_label, call.scales = 10, []
        return call

    return make


def total(objective, model, batch):
    return objective.total(objective.terms(model, batch))


def test_mse_is_a_mean_over_the_elements_of_each_image():
    a, b = torch.randn(2, 3, 2, 4, 4)
    want = torch.stack([((a[i] - b[i]) ** 2).sum() / 32 for i in range(3)])
    torch.testing.assert_close(mse(a, b), want)


@pytest.mark.parametrize("name", PLAIN)
def test_terms_are_named_and_one_an_image(batch, student, name):
    terms = make_objective(name).terms(student(batch, 1.0, 2.0), batch)
    assert set(terms) == TERMS[name]
    assert all(v.shape == (4,) for v in terms.values())


@pytest.mark.parametrize("name", PLAIN)
def test_only_scratch_does_without_a_teacher(batch, student, name):
    objective, alone = make_objective(name), replace(batch, teacher=None)
    if name != "scratch":
        with pytest.raises(ValueError, match=r"data\.with_teacher"):
            objective.terms(student(batch), alone)
        with pytest.raises(ValueError, match=r"data\.with_teacher"):
            teacher_of(alone)
    else:
        assert total(objective, student(batch), alone).shape == (4,)


def test_scratch_predicts_the_noise_under_dropped_labels(batch, student):
    both = Branches(batch.teacher.cond + 1, batch.teacher.uncond + 2)
    loss = total(make_objective("scratch"), student(batch, 1.0, 2.0), batch)
    torch.testing.assert_close(loss[:2], mse(both.uncond, batch.eps)[:2])
    torch.testing.assert_close(loss[2:], mse(both.cond, batch.eps)[2:])


def test_cond_only_is_blind_to_the_unconditional_branch(batch, student):
    objective = make_objective("cond_only")
    assert total(objective, student(batch, 0.0, 5.0), batch).eq(0).all()
    torch.testing.assert_close(total(objective, student(batch, 0.3), batch), torch.full((4,), 0.09))


def test_cond_only_dropout_asks_the_null_branch_for_the_conditional_teacher(batch, student):
    loss = total(make_objective("cond_only_dropout"), student(batch, 0.3, 0.5), batch)
    gap = mse(batch.teacher.uncond + 0.5, batch.teacher.cond)
    torch.testing.assert_close(loss[:2], gap[:2])
    torch.testing.assert_close(loss[2:], torch.full((2,), 0.09))


@pytest.mark.parametrize("w", [1.5, 2.0, 4.0])
def test_composite_cannot_tell_two_branch_pairs_apart(batch, student, w):
    """Also the collapse: both branches equal to the guided output, gap 0, loss 0."""
    objective = make_objective("composite", w=w)
    for e_c, e_u in ((0.0, 0.0), (w - 1, w), (-0.2 * (w - 1), -0.2 * w)):
        loss = total(objective, student(batch, e_c, e_u), batch)
        torch.testing.assert_close(loss, torch.zeros(4), atol=1e-10, rtol=0)
    guided = batch.teacher.guided(w)
    collapsed = student(batch, guided - batch.teacher.cond, guided - batch.teacher.uncond)
    torch.testing.assert_close(
        total(objective, collapsed, batch), torch.zeros(4), atol=1e-10, rtol=0
    )


def test_composite_sees_everything_else(batch, student):
    loss = total(make_objective("composite", w=4), student(batch, 4.0, -3.0), batch)
    torch.testing.assert_close(loss, torch.full((4,), 25.0**2))


def test_what_is_right_at_one_scale_is_wrong_at_another(batch, student):
    model = student(batch, 3.0, 4.0)  # the null direction of w = 4
    assert total(make_objective("composite", w=2), model, batch).min() > 1


@pytest.fixture
def crowd():
    """20,000 images of one pixel with a teacher: means over them are expectations over w."""
    x, y = torch.randn(20_000, 1, 1, 1), torch.zeros(20_000).long()
    teacher = Branches(torch.randn(20_000, 1, 1, 1), torch.randn(20_000, 1, 1, 1))
    return Batch(x, y, y, y, torch.randn(20_000, 1, 1, 1), teacher)


@pytest.mark.parametrize("errors", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.6, 0.8), (1.0, -1.0)])
def test_random_scales_are_blind_to_nothing(crowd, student, errors):
    """E|w e_c + (1 - w) e_u|^2 over U[1, 4]: E w^2 = 7, E w(1 - w) = -4.5, E (1 - w)^2 = 3."""
    e_c, e_u = errors
    loss = total(make_objective("multi_w"), student(crowd, e_c, e_u), crowd).mean()
    want = 7 * e_c**2 - 9 * e_c * e_u + 3 * e_u**2
    assert loss.item() == pytest.approx(want, rel=0.03)
    assert want > 0.05


def test_random_scales_vanish_where_both_branches_agree(crowd, student):
    assert total(make_objective("multi_w"), student(crowd), crowd).max() < 1e-10


def test_random_scales_differ_between_images_and_batches(batch, student):
    objective, model = make_objective("multi_w"), student(batch, 1.0)  # the loss is w^2
    first, second = (total(objective, model, batch).sqrt() for _ in range(2))
    assert len(first.unique()) == 4
    assert not torch.equal(first, second)
    assert 1 <= torch.cat([first, second]).min() <= torch.cat([first, second]).max() <= 4


@pytest.mark.parametrize("name", ["multi_w", "single_head"])
def test_scales_are_uniform_between_the_bounds(crowd, name):
    w = make_objective(name, low=2.0, high=5.0).draw(crowd)
    assert w.shape == (20_000,)
    assert (w.min().item(), w.max().item()) == pytest.approx((2, 5), abs=0.01)
    assert (w.mean().item(), w.var().item()) == pytest.approx((3.5, 9 / 12), rel=0.02)
    torch.manual_seed(3)
    again = make_objective(name).draw(crowd)
    torch.manual_seed(3)
    assert torch.equal(make_objective(name).draw(crowd), again)


@pytest.mark.parametrize("name", ["multi_w", "single_head"])
def test_bounds_the_wrong_way_round_are_an_error(name):
    with pytest.raises(ValueError, match=r"U\[4.0, 1.0\]: low must not exceed high"):
        make_objective(name, low=4.0, high=1.0)


def test_a_single_head_is_matched_to_the_guided_teacher_at_its_own_scale(batch, student):
    objective, model = make_objective("single_head"), student(batch)
    assert total(objective, model, batch).max() < 1e-12
    wrong = student(batch, 0.5)
    torch.testing.assert_close(total(objective, wrong, batch), torch.full((4,), 0.25))
    assert [w.shape for w in (*model.scales, *wrong.scales)] == [(4,), (4,)]  # one forward each
    assert len(wrong.scales[0].unique()) == 4


def test_a_single_head_that_ignores_the_scale_is_wrong(batch):
    def ignores(x_t, t, y, w):
        return batch.teacher.guided(2.0)

    assert total(make_objective("single_head"), ignores, batch).min() > 1e-6


def test_gap_matching_is_blind_to_a_common_drift(batch, student):
    objective = make_objective("gap_match")
    drifted = total(objective, student(batch, 5.0, 5.0), batch)
    torch.testing.assert_close(drifted, torch.zeros(4), atol=1e-10, rtol=0)
    seen = total(objective, student(batch, 0.5, 0.2), batch)
    torch.testing.assert_close(seen, torch.full((4,), 0.09))


def test_gap_matching_with_imitation_sees_the_drift(batch, student):
    objective = make_objective("gap_match", imitation=2.0)
    terms = objective.terms(student(batch, 0.5, 0.2), batch)
    assert set(terms) == {"gap", "imitation"}, "what has factor 0 is not computed"
    torch.testing.assert_close(terms["imitation"], torch.full((4,), 0.25))
    torch.testing.assert_close(objective.total(terms), torch.full((4,), 0.09 + 2 * 0.25))


@pytest.mark.parametrize("errors", [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (3.0, 4.0), (1.0, 1.0)])
def test_dash_vanishes_only_where_both_branches_agree(batch, student, errors):
    terms = make_objective("dash").terms(student(batch, *errors), batch)
    for name, error in zip(("imitation", "unconditional"), errors, strict=True):
        torch.testing.assert_close(terms[name], torch.full((4,), error**2))


def test_dash_is_anchored_to_the_noise(batch, student):
    model = student(batch, batch.eps - batch.teacher.cond)
    assert make_objective("dash").terms(model, batch)["anchor"].max() < 1e-12
    terms = make_objective("dash").terms(student(batch), batch)
    torch.testing.assert_close(terms["anchor"], mse(batch.teacher.cond, batch.eps))


def test_the_total_applies_the_coefficients(batch, student):
    objective = make_objective("dash", imitation=2, unconditional=3, anchor=5)
    terms = objective.terms(student(batch, 0.1, 0.2), batch)
    assert objective.coefficients == {"imitation": 2, "unconditional": 3, "anchor": 5}
    want = 2 * terms["imitation"] + 3 * terms["unconditional"] + 5 * terms["anchor"]
    torch.testing.assert_close(objective.total(terms), want)
    assert make_objective("dash").coefficients == {
        "imitation": 1,
        "unconditional": 1,
        "anchor": 0.1,
    }


@pytest.mark.parametrize("name", PLAIN)
def test_without_coefficients_the_total_is_the_sum(batch, name):
    if name != "dash":
        terms = {"a": torch.rand(4), "b": torch.rand(4)}
        torch.testing.assert_close(make_objective(name).total(terms), terms["a"] + terms["b"])


def hessian(objective, batch, student):
    """Second derivatives of the mean loss with respect to (e_c, e_u), by central differences."""
    h = 0.5  # the loss is quadratic: any step is exact

    def f(e):
        return total(objective, student(batch, *e.tolist()), batch).double().mean()

    def second(i, j):
        corners = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        return sum(p * q * f(h * (p * i + q * j)) for p, q in corners) / (4 * h * h)

    axes = torch.eye(2)
    return torch.stack([torch.stack([second(i, j) for j in axes]) for i in axes])


@pytest.mark.parametrize(
    ("name", "options", "eigenvalues"),
    [
        ("dash", {"anchor": 0.0}, (2, 2)),  # condition number 1
        ("dash", {}, (2, 2.2)),  # the anchor holds the conditional branch
        ("dash", {"unconditional": 0.0, "anchor": 0.0}, (0, 2)),
        ("cond_only", {}, (0, 2)),
        ("composite", {"w": 4.0}, (0, 2 * 25)),  # 2 (w^2 + (1 - w)^2)
        ("composite", {"w": 2.0}, (0, 2 * 5)),
        ("multi_w", {"low": 2.0, "high": 2.0}, (0, 2 * 5)),
        ("gap_match", {}, (0, 2 * 2)),
        ("gap_match", {"imitation": 1.0}, (3 - 5**0.5, 3 + 5**0.5)),
        ("gap_match", {"imitation": 1.0, "gap": 3.0}, (7 - 37**0.5, 7 + 37**0.5)),
        ("gap_match", {"gap": 3.0}, (0, 2 * 6)),
        ("gap_match", {"imitation": 1.0, "gap": 3.0, "unconditional": 1.0}, (2, 2 * 7)),
        ("gap_match", {"imitation": 1.0, "gap": 0.0}, (0, 2)),  # cond_only
    ],
)
def test_curvature_in_the_plane_of_branch_errors(batch, student, name, options, eigenvalues):
    values = torch.linalg.eigvalsh(hessian(make_objective(name, **options), batch, student))
    want = torch.tensor(eigenvalues, dtype=torch.float64)
    torch.testing.assert_close(values, want, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "flat"),
    [
        ("composite", {"w": 4.0}, (0.6, 0.8)),
        ("cond_only", {}, (0.0, 1.0)),
        ("gap_match", {}, (0.5**0.5, 0.5**0.5)),
    ],
)
def test_the_flat_direction(batch, student, name, options, flat):
    _, vectors = torch.linalg.eigh(hessian(make_objective(name, **options), batch, student))
    want = torch.tensor(flat, dtype=torch.float64)
    torch.testing.assert_close(vectors[:, 0].abs(), want, atol=1e-5, rtol=0)
    assert vectors[:, 0].prod() >= -1e-9  # both components have one sign


def test_gradients_reach_the_student_and_not_the_teacher(model, stream):
    x, t, y = torch.randn(2, 1, 8, 8), torch.tensor([5, 900]), torch.tensor([1, 2])
    teacher = Branches(torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8))
    batch = Batch(x, t, y, y, torch.randn(2, 1, 8, 8), teacher)
    for name in WITH_TEACHER:
        if name == "single_head":
            continue  # no null branch to train: tests/test_single_head.py
        model.zero_grad()
        total(make_objective(name), model, batch).mean().backward()
        null_row = model.class_embed.weight.grad[-1]
        assert null_row.ne(0).any() == (name in BOTH), name


def test_an_unknown_objective_lists_the_names():
    with pytest.raises(ValueError, match=f"unknown objective 'kd': one of {', '.join(OBJECTIVES)}"):
        make_objective("kd")


def test_an_unknown_option_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'composite' takes \['w'\].*scale"):
        make_objective("composite", scale=4)
    with pytest.raises(ValueError, match="'scratch' takes no options"):
        make_objective("scratch", w=4)


def test_sampled_branches_cost_half_and_mean_the_same(batch, student):
    """Over many coins: p |e_u|^2 + (1 - p) |e_c|^2, from one forward of B images."""
    e_c, e_u = 1.0, 2.0
    model, found = student(batch, e_c, e_u), []
    torch.manual_seed(0)
    for p in (0.0, 0.25, 1.0):
        terms = [make_objective("dash_sampled", p=p).terms(model, batch) for _ in range(300)]
        found.append(torch.cat([term["sampled"] for term in terms]).mean().item())
    assert found[0] == pytest.approx(e_c**2)
    assert found[1] == pytest.approx(0.25 * e_u**2 + 0.75 * e_c**2, rel=0.1)
    assert found[2] == pytest.approx(e_u**2)


@pytest.mark.parametrize("option", ["p", "mix"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_shares_of_branches_are_probabilities(option, value):
    with pytest.raises(ValueError, match=r"a probability and a share, in \[0, 1\]"):
        make_objective("dash_sampled", **{option: value})


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_null_branch_may_be_asked_for_a_mixture_of_the_teachers(batch, student, mix):
    """(1 - mix) T_uncond + mix T_cond: the null branch is wrong by e_u - mix gap_T."""
    objective = make_objective("dash_sampled", p=1.0, mix=mix)
    want = (0.5 - mix * batch.teacher.gap).square().flatten(1).mean(1)
    torch.testing.assert_close(total(objective, student(batch, 9.0, 0.5), batch), want)


def test_label_dropout_is_a_mixture_of_the_conditional_branch_alone(batch, student, monkeypatch):
    """Up to its coins, which are the stream's."""
    coins = torch.tensor([0.0, 0.05, 0.5, 0.9])  # below p for the first two, whose labels drop
    monkeypatch.setattr(torch, "rand", lambda *size, device: coins)
    model, sampled = student(batch, 0.3, 0.7), make_objective("dash_sampled", p=0.1, mix=1.0)
    ours, theirs = (total(o, model, batch) for o in (sampled, make_objective("cond_only_dropout")))
    torch.testing.assert_close(ours, theirs)
