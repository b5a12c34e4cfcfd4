"""Describe every run: a frozen :class:`Recipe`, the rows of the table, the book's runs by name.

``digits`` trains on any CPU, ``cifar10`` on one GPU.  Rows differ by objective and weighting only:
students of one seed see the same batches and start from the same weights (common random numbers).
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dashlib.blocks import UNetConfig
from dashlib.execution import TrainConfig
from dashlib.guidance import TAG, Constant, GuidanceSchedule
from dashlib.unet import STUDENT_CIFAR10, STUDENT_DIGITS, TEACHER_CIFAR10, TEACHER_DIGITS


@dataclass(frozen=True)
class Recipe:
    """One network to train: what it is, what it learns from, and how."""

    name: str  # of the run, ``digits/dash-transfer-s0``
    unet: UNetConfig
    train: TrainConfig
    objective: str = "scratch"  # of dashlib.losses
    weighting: str = "uniform"  # of dashlib.weighting; "transfer": what the prior learned, frozen
    seed: int = 0
    teacher: str | None = None  # a stored run, or a file
    prior: str | None = None  # the run whose importance is transferred; None: the teacher's
    options: dict[str, float] = field(default_factory=dict)  # of the objective
    batch_size: int = 128  # images a step, over all processes
    init: Literal["random", "pruned"] = "random"  # pruned: the teacher without its small filters
    label_dropout: float = 0.1  # for objectives that read dropped labels; the others ignore it
    dropout_per: Literal["sample", "batch"] = "sample"
    normalize: Literal["timesteps", "batch"] = "timesteps"  # a transferred weighting
    flip: bool = False  # random left-right flips
    split: float = 1.0  # part of the training images that is trained on

    @property
    def dataset(self) -> str:
        """The images that it learns from: the name up to the slash."""
        return self.name.partition("/")[0]


HEADLINE = ("scratch", "cond_only", "cond_only_dropout", "composite", "dash")
TABLE = (  # the other rows of the table, with three seeds
    *("multi_w", "fitnets", "gap_match", "gap_match_cond", "pruned", "single_head"),
    *("dash_no_un", "dash_no_an"),
)
LEARNED = ("tirt", "tirt_eps", "uncertainty", "tirt_batch")  # weightings that learn
SEEDS = (0, 1, 2)
ALSO_V = ("dash", "cond_only_dropout", "dash_sampled")  # rows with a twin that predicts v
ONE_PASS = ("scratch", "cond_only", "cond_only_dropout", "dash_sampled")  # of the student a step

GUIDANCE: dict[str, GuidanceSchedule] = {f"{w:g}": Constant(w) for w in (1, 1.5, 2, 3, 4)}
GUIDANCE["TAG"] = TAG()


@dataclass(frozen=True)
class Scale:
    """A teacher, the students that learn from it, and the guidance that they are scored under."""

    learner: Recipe  # the teacher; its name ends in its weighting
    student: Recipe  # what all rows share
    guidance = GUIDANCE  # that samples are scored under

    @property
    def name(self) -> str:
        """The data set's."""
        return self.student.dataset

    @property
    def rows(self) -> dict[str, Recipe]:
        """Every row of the table, as changes of the student."""

        def row(of: str, *, unet: Any = None, init: Any = "random", **options: float) -> Recipe:
            net = replace(self.student.unet, **(unet or {}))
            return replace(self.student, objective=of, options=options, init=init, unet=net)

        return {
            **{name: row(name) for name in ("scratch", "cond_only", "cond_only_dropout")},
            "composite": row("composite", w=4.0),
            **{name: row(name) for name in ("dash", "multi_w", "gap_match")},
            "gap_match_cond": row("gap_match", imitation=1.0),
            "fitnets": row("fitnets"),
            "pruned": row("scratch", init="pruned", unet={"blocks": 2}),
            "single_head": row("single_head", unet={"w_conditioned": True}),
            "dash_no_un": row("dash", unconditional=0.0),
            "dash_no_an": row("dash", anchor=0.0),
            **{f"dash_an_{a:g}": row("dash", anchor=a) for a in (0.03, 0.3, 1.0)},
            "dash_sampled": row("dash_sampled"),
            **{f"dash_sampled_{p:g}": row("dash_sampled", p=p) for p in (0.1, 0.25)},
            **{f"dash_mixed_{a:g}": row("dash_sampled", mix=a) for a in (0.25, 0.5, 1.0)},
            **{f"dash_gap_{mu:g}": row("gap_match", gap=mu, imitation=1.0) for mu in (3.0, 10.0)},
            # TAG's mean form of (e_c, e_u), its lower eigenvalue raised to a tenth of the other
            "tag_form": row("gap_match", gap=0.747, imitation=0.5868, unconditional=-0.0808),
            **{f"{of}_v": row(of, unet={"prediction": "v"}) for of in ALSO_V},
        }

    @property
    def classifier(self) -> str:
        """The run of the classifier that scores samples."""
        return f"{self.name}/classifier"

    def teacher(self, weighting: str) -> Recipe:
        """A teacher trained with this weighting."""
        return replace(self.learner, name=f"{self.name}/teacher-{weighting}", weighting=weighting)

    def of(
        self, row: str, weighting: str, seed: int = 0, *, prior: str = "tirt", **unet: Any
    ) -> Recipe:
        """A row's student; ``prior``: the weighting of the teacher whose importance it is given."""
        of = "" if prior == "tirt" else f"_{prior}"
        changes = "".join(f"-{key}_{value}" for key, value in unet.items())
        return replace(
            self.rows[row],
            name=f"{self.name}/{row}-{weighting}{of}{changes}-s{seed}",
            unet=replace(self.rows[row].unet, **unet),
            weighting=weighting,
            seed=seed,
            prior=f"{self.name}/teacher-{prior}" if of else None,
        )


_ON_CPU = TrainConfig(steps=3000, lr=1e-3, ema=0.999)
_ON_GPU = TrainConfig(steps=8100, lr=5e-4, lr_min=0.0, ema=0.9993, bf16=True, warm=0.02)
_LEARNING = replace(_ON_CPU, steps=1200, lr=4e-3), replace(_ON_GPU, steps=4000, lr=1e-3, ema=0.999)
_PLAIN = [replace(unet, dropout=0.0) for unet in (TEACHER_CIFAR10, STUDENT_CIFAR10)]
DIGITS = Scale(
    Recipe("digits/teacher-tirt", TEACHER_DIGITS, _ON_CPU, weighting="tirt"),
    Recipe("digits/student", STUDENT_DIGITS, _LEARNING[0], teacher="digits/teacher-tirt"),
)
_TEACHER = Recipe("cifar10/teacher-uniform", _PLAIN[0], _ON_GPU, flip=True)
_STUDENT = replace(_TEACHER, name="cifar10/student", unet=_PLAIN[1], train=_LEARNING[1])
CIFAR10 = Scale(_TEACHER, replace(_STUDENT, teacher=_TEACHER.name))  # steps: the stored run's
ROWS = DIGITS.rows
CIFAR10_SHIPPED = ("cifar10/dash_v-high_noise-s0", "cifar10/dash_sampled_v-high_noise-s0")
SCALES = {scale.name: scale for scale in (DIGITS, CIFAR10)}


def _by_name(*recipes: Recipe) -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in sorted(recipes, key=lambda r: r.seed)}


_TABLE_RUNS = [  # the headline rows under both weightings
    DIGITS.of(row, w, s) for s in SEEDS for w in ("transfer", "uniform") for row in HEADLINE
]
_AGAIN = [r for r in _TABLE_RUNS if r.seed and r.objective == "cond_only_dropout"]
PARTS = {
    "core": _by_name(
        *(DIGITS.teacher(w) for w in ("tirt", "uniform")),
        *(recipe for recipe in _TABLE_RUNS if recipe not in _AGAIN),
    ),
    "rows": _by_name(*(DIGITS.of(row, "transfer", s) for s in SEEDS for row in TABLE), *_AGAIN),
    "studies": _by_name(  # of weightings (three seeds), the anchor's weight and the class table
        *(DIGITS.teacher(w) for w in LEARNED[1:]),
        *(DIGITS.of("dash", "transfer", s, prior=w) for s in SEEDS for w in LEARNED[1:]),
        *(DIGITS.of("dash", w, s) for s in SEEDS for w in (*LEARNED[:3], "min_snr")),
        *(DIGITS.of(f"dash_an_{a:g}", "transfer") for a in (0.03, 0.3, 1.0)),
        *(DIGITS.of("cond_only", "transfer", null_init=s) for s in ("zero", "mean_of_classes")),
        DIGITS.of("cond_only", "transfer", embed_std=0.02),
    ),
}
FAIR = (  # row, weighting, times the steps: rows of one pass of the student get the cost of two
    *((row, "transfer", 1) for row in ("dash", "cond_only_dropout")),
    *((row, "uniform", 1) for row in (*HEADLINE, "multi_w", "single_head", "dash_v")),
    *((row, "uniform", 1) for row in ("gap_match_cond", "dash_gap_3")),
    *((row, "uniform", 2) for row in ("dash_sampled", "cond_only_dropout", "dash_mixed_0.5")),
)


def fair(row: str, weighting: str, seed: int = 0, longer: int = 1) -> Recipe:
    """A row's student of the teacher without TIRT's defect, after ``longer`` times the steps."""
    recipe, row = DIGITS.of(row, weighting, seed), f"{row}-{weighting}"
    name = recipe.name.replace(row, f"{row}-from_uniform" + f"-x{longer}" * (longer > 1))
    train = replace(recipe.train, steps=longer * recipe.train.steps)
    prior = recipe.teacher if weighting == "transfer" else None
    return replace(recipe, name=name, train=train, prior=prior, teacher="digits/teacher-uniform")


PARTS["fair"] = _by_name(*(fair(row, w, s, n) for s in range(8) for row, w, n in FAIR))
RECIPES = {name: recipe for part in PARTS.values() for name, recipe in part.items()}
SHIPPED = {*PARTS["core"], *PARTS["rows"], DIGITS.classifier}  # whose weights have room here
SHIPPED |= {fair(row, "uniform").name for row in HEADLINE[1:]}
