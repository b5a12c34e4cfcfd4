"""Find where each row's loss is zero: the students that its objective cannot tell from the teacher.

The branch errors are fields over the image, not numbers: every element has its own.
"""

import pytest
import torch

import dashlib.baselines  # noqa: F401  (registers fitnets)
from dashlib.data import Batch
from dashlib.guidance import Branches
from dashlib.losses import make_objective, mse
from dashlib.recipes import ROWS
from dashlib.unet import UNet

N = 6
SHAPE = (N, 1, 4, 4)
BLIND = {  # row: student errors (e_c, e_u) that cost nothing, for any field d
    "cond_only": lambda d: (0 * d, d),
    "composite": lambda d: (3 * d, 4 * d),  # w = 4: along (w - 1, w)
    "gap_match": lambda d: (d, d),
    "dash_no_un": lambda d: (0 * d, d),
}
SEEING = ("multi_w", "gap_match_cond", "dash_no_an")
DIRECTIONS = {
    "conditional": lambda d: (d, 0 * d),
    "unconditional": lambda d: (0 * d, d),
    "common drift": lambda d: (d, d),
    "gap": lambda d: (d, -d),
    "null of w = 4": lambda d: (3 * d, 4 * d),
}


@pytest.fixture
def batch():
    """Images with a teacher whose conditional branch is the noise, so that anchors cost nothing."""
    x, y = torch.randn(SHAPE), torch.arange(N)
    eps = torch.randn(SHAPE)
    return Batch(x, y, y, y, eps, Branches(eps, torch.randn(SHAPE)))


def loss(row, batch, e_c, e_u):
    """Per-sample loss of a student with these branch errors."""
    branches = {False: batch.teacher.cond + e_c, True: batch.teacher.uncond + e_u}

    def model(x_t, t, y):
        if len(y) == 2 * N:  # both branches in one forward
            return torch.cat([branches[False], branches[True]])
        return branches[bool((y == 10).all())]

    model.null_label = 10
    objective = make_objective(ROWS[row].objective, **ROWS[row].options)
    return objective.total(objective.terms(model, batch))


@pytest.mark.parametrize("row", BLIND)
def test_a_blind_row_has_a_whole_field_of_perfect_students(batch, row):
    e_c, e_u = BLIND[row](torch.randn(SHAPE))
    torch.testing.assert_close(loss(row, batch, e_c, e_u), torch.zeros(N), atol=1e-10, rtol=0)


@pytest.mark.parametrize("row", BLIND)
def test_it_sees_every_other_direction(batch, row):
    d = torch.randn(SHAPE)
    blind = torch.stack(BLIND[row](d))
    for name, direction in DIRECTIONS.items():
        errors = torch.stack(direction(d))
        along = torch.cosine_similarity(errors.flatten(), blind.flatten(), dim=0)
        if along < 0.999:
            assert loss(row, batch, *errors).min() > 1e-3, name


@pytest.mark.parametrize("row", SEEING)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_seeing_row_is_satisfied_by_the_teacher_alone(batch, row, direction):
    assert loss(row, batch, torch.zeros(SHAPE), torch.zeros(SHAPE)).max() < 1e-10
    assert loss(row, batch, *DIRECTIONS[direction](torch.randn(SHAPE))).min() > 1e-3


@pytest.mark.parametrize("row", [row for row in ROWS if ROWS[row].objective == "dash"])
def test_dash_is_satisfied_by_both_branches_and_nothing_else_that_it_pays_for(batch, row):
    """An anchor costs nothing here, where the teacher's conditional branch is the noise itself."""
    zero, d = torch.zeros(SHAPE), torch.randn(SHAPE)
    factor = 1 + ROWS[row].options.get("anchor", 0.1)
    torch.testing.assert_close(loss(row, batch, zero, zero), torch.zeros(N))
    torch.testing.assert_close(loss(row, batch, d, zero), factor * mse(d, zero))
    unconditional = ROWS[row].options.get("unconditional", 1.0)
    torch.testing.assert_close(loss(row, batch, zero, d), unconditional * mse(d, zero))


def test_an_anchor_moves_the_zero_away_from_a_teacher_that_is_not_the_noise(batch):
    zero = torch.zeros(SHAPE)
    other = batch.teacher.cond + torch.randn(SHAPE)
    moved = Batch(batch.x_t, batch.t, batch.y, batch.y, batch.eps, Branches(other, other))
    assert loss("dash", moved, zero, zero).min() > 1e-3
    assert loss("dash_no_an", moved, zero, zero).max() < 1e-10


def test_scratch_is_satisfied_by_the_noise_whatever_the_teacher_says(batch):
    zero = torch.zeros(SHAPE)
    assert loss("scratch", batch, zero, torch.randn(SHAPE)).max() < 1e-10
    assert loss("pruned", batch, torch.randn(SHAPE), zero).min() > 1e-3


def test_dropout_is_satisfied_by_a_collapse_where_the_label_is_dropped(batch):
    """For one image T_cond itself; over the labels of an image their mean (chapter 7)."""
    dropped = Batch(batch.x_t, batch.t, batch.y, torch.full((N,), 10), batch.eps, batch.teacher)
    collapsed = batch.teacher.gap
    assert loss("cond_only_dropout", dropped, torch.randn(SHAPE), collapsed).max() < 1e-10
    assert loss("cond_only_dropout", dropped, torch.zeros(SHAPE), 0 * collapsed).min() > 1e-3


def test_a_single_head_must_be_right_at_every_scale(batch):
    objective = make_objective("single_head")

    def right(x_t, t, y, w):
        return batch.teacher.guided(w)

    def right_at_two(x_t, t, y, w):
        return batch.teacher.guided(torch.full_like(w, 2.0))

    assert objective.total(objective.terms(right, batch)).max() < 1e-10
    assert objective.total(objective.terms(right_at_two, batch)).min() > 0


def test_fitnets_is_blind_to_the_null_branch_as_cond_only_is(tiny):
    teacher, x = UNet(tiny), torch.randn(N, 1, 8, 8)
    t, y = torch.arange(N) * 100, torch.arange(N)
    student = UNet(tiny)
    student.load_state_dict(teacher.state_dict())
    objective = make_objective("fitnets", teacher=teacher, student=tiny)
    for regressor in objective.regressors:
        torch.nn.init.dirac_(regressor.weight)
        torch.nn.init.zeros_(regressor.bias)
    with torch.no_grad():
        answers = Branches(teacher(x, t, y), teacher(x, t, torch.full_like(y, 10)))
        student.eval().class_embed.weight[-1] += 5
        batch = Batch(x, t, y, y, torch.randn_like(x), answers)
        assert objective.total(objective.terms(student, batch)).max() < 1e-9
        assert mse(student(x, t, torch.full_like(y, 10)), answers.uncond).min() > 1e-6
        student.class_embed.weight[:-1] += 1
        assert objective.total(objective.terms(student, batch)).min() > 1e-6


def test_every_row_of_the_table_is_covered():
    named = {*BLIND, *SEEING, "scratch", "pruned", "cond_only_dropout", "single_head", "fitnets"}
    named |= {"dash_sampled"}  # half of the images each: test_losses
    objectives = {ROWS[row].objective for row in named} | {"dash"}
    assert objectives == {recipe.objective for recipe in ROWS.values()}
