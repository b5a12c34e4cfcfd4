"""What every stored run is: a frozen :class:`Spec`, and the runs of each scale by name.

``digits`` trains on any CPU, ``cifar10`` on one GPU.  Rows of the table differ by their
objective and weighting only: students of one seed see the same batches and start from the same
weights (common random numbers).
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dashlib.guidance import TAG, Constant, GuidanceSchedule
from dashlib.training import TrainConfig
from dashlib.unet import (
    STUDENT_CIFAR10,
    STUDENT_DIGITS,
    TEACHER_CIFAR10,
    TEACHER_DIGITS,
    UNetConfig,
)


@dataclass(frozen=True)
class Spec:
    """One run: a network, an objective, a weighting and (for students) the teacher."""

    name: str
    unet: UNetConfig
    train: TrainConfig
    objective: str
    weighting: str  # a name of dashlib.weighting, or "transfer": what the prior learned, frozen
    seed: int = 0
    teacher: str | None = None
    prior: str | None = None  # the run whose importance is transferred; None: the teacher's
    options: dict[str, float] = field(default_factory=dict)  # of the objective
    batch_size: int = 128
    init: Literal["random", "pruned"] = "random"  # pruned: the teacher without its small filters


@dataclass(frozen=True)
class Row:
    """A row of the table: an objective with its options, from random or pruned weights."""

    objective: str
    options: dict[str, float] = field(default_factory=dict)
    init: Literal["random", "pruned"] = "random"
    unet: dict[str, Any] = field(default_factory=dict)  # changed fields of the student's network


ROWS = {
    "scratch": Row("scratch"),
    "cond_only": Row("cond_only"),
    "cond_only_dropout": Row("cond_only_dropout"),
    "composite": Row("composite", {"w": 4.0}),
    "dash": Row("dash"),
    "multi_w": Row("multi_w"),
    "gap_match": Row("gap_match"),
    "gap_match_cond": Row("gap_match", {"imitation": 1.0}),
    "fitnets": Row("fitnets"),
    "pruned": Row("scratch", init="pruned", unet={"blocks": 2}),
    "single_head": Row("single_head", unet={"w_conditioned": True}),
    "dash_no_un": Row("dash", {"unconditional": 0.0}),
    "dash_no_an": Row("dash", {"anchor": 0.0}),
    "dash_an_0.03": Row("dash", {"anchor": 0.03}),
    "dash_an_0.3": Row("dash", {"anchor": 0.3}),
    "dash_an_1": Row("dash", {"anchor": 1.0}),
}
CIFAR10_ROWS = ROWS | {
    "dash_sampled": Row("dash_sampled"),
    "dash_v": Row("dash", unet={"prediction": "v"}),
    "cond_only_dropout_v": Row("cond_only_dropout", unet={"prediction": "v"}),
    "dash_sampled_v": Row("dash_sampled", unet={"prediction": "v"}),
}
HEADLINE = ("scratch", "cond_only", "cond_only_dropout", "composite", "dash")
TABLE = (  # the other rows of the table, with three seeds
    *("multi_w", "fitnets", "gap_match", "gap_match_cond", "pruned", "single_head"),
    *("dash_no_un", "dash_no_an"),
)
ANCHORS = ("dash_an_0.03", "dash_an_0.3", "dash_an_1")  # beside dash_no_an (0) and dash (0.1)
LEARNED = ("tirt", "tirt_eps", "uncertainty", "tirt_batch")  # weightings that learn
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Scale:
    """What the runs of a scale share."""

    name: str
    teacher: UNetConfig
    student: UNetConfig
    teacher_training: TrainConfig
    student_training: TrainConfig
    teacher_batch: int
    student_batch: int
    guidance: dict[str, GuidanceSchedule]
    flip: bool = False  # whether mirrored images are as good

    @property
    def classifier(self) -> str:
        """The run of the classifier that scores samples."""
        return f"{self.name}/classifier"

    def teacher_spec(self, weighting: str) -> Spec:
        """A teacher trained with this weighting."""
        name = f"{self.name}/teacher-{weighting}"
        train, batch = self.teacher_training, self.teacher_batch
        return Spec(name, self.teacher, train, "scratch", weighting, batch_size=batch)

    def student_spec(
        self, row: str, weighting: str, seed: int = 0, *, prior: str = "tirt", **unet: Any
    ) -> Spec:
        """The student of one table row; every student learns from the TIRT teacher.

        ``prior`` says which teacher's importance is transferred: the one trained under that
        weighting.  ``unet`` changes fields of the :class:`UNetConfig`.  The run's name says both.
        """
        of = "" if prior == "tirt" else f"_{prior}"
        changes = "".join(f"-{key}_{value}" for key, value in unet.items())
        kind = CIFAR10_ROWS[row]
        return Spec(
            f"{self.name}/{row}-{weighting}{of}{changes}-s{seed}",
            replace(self.student, **{**kind.unet, **unet}),
            self.student_training,
            kind.objective,
            weighting,
            seed,
            teacher=f"{self.name}/teacher-tirt",
            prior=f"{self.name}/teacher-{prior}" if of else None,
            options=kind.options,
            batch_size=self.student_batch,
            init=kind.init,
        )


def scales_of(*ws: float) -> dict[str, GuidanceSchedule]:
    """Constant guidance scales and TAG, by label."""
    return {**{f"{w:g}": Constant(w) for w in ws}, "TAG": TAG()}


DIGITS = Scale(
    "digits",
    TEACHER_DIGITS,
    STUDENT_DIGITS,
    TrainConfig(steps=3000, lr=1e-3, ema=0.999),
    TrainConfig(steps=1200, lr=4e-3, ema=0.999),
    teacher_batch=128,
    student_batch=128,
    guidance=scales_of(1, 1.5, 2, 3, 4),
)
CIFAR10 = Scale(  # trained by the clock: the number of steps is the stored run's
    "cifar10",
    replace(TEACHER_CIFAR10, dropout=0.0),
    replace(STUDENT_CIFAR10, dropout=0.0),
    TrainConfig(steps=8100, lr=5e-4, ema=0.9993, bf16=True),
    TrainConfig(steps=4000, lr=1e-3, lr_min=0.0, ema=0.999, bf16=True),
    teacher_batch=128,
    student_batch=128,
    guidance=scales_of(1, 1.5, 2, 3, 4),
    flip=True,
)
CIFAR10_RUNS = tuple(  # one sweep of a quarter of an hour, and what it began with
    f"cifar10/{name}"
    for name in (
        "teacher-uniform",
        "dash-uniform-s0",
        "dash-high_noise-s0",
        "dash_v-high_noise-s0",
        "cond_only_dropout_v-high_noise-s0",
        "dash_sampled_v-high_noise-s0",
    )
)
CIFAR10_SHIPPED = ("cifar10/dash_v-high_noise-s0", "cifar10/dash_sampled_v-high_noise-s0")
SCALES = {scale.name: scale for scale in (DIGITS, CIFAR10)}


def _by_name(*specs: Spec) -> dict[str, Spec]:
    return {spec.name: spec for spec in sorted(specs, key=lambda s: s.seed)}


_HEADLINE = [  # under both weightings
    DIGITS.student_spec(row, w, s)
    for s in SEEDS
    for w in ("transfer", "uniform")
    for row in HEADLINE
]
_AGAIN = [s for s in _HEADLINE if s.seed and s.objective == "cond_only_dropout"]  # not in the paper
_CORE = _by_name(
    *(DIGITS.teacher_spec(w) for w in ("tirt", "uniform")),
    *(spec for spec in _HEADLINE if spec not in _AGAIN),
)
_OTHER_ROWS = _by_name(
    *(DIGITS.student_spec(row, "transfer", s) for s in SEEDS for row in TABLE), *_AGAIN
)
_STUDIES = _by_name(  # of weightings (three seeds), of the anchor's weight and of the class table
    *(DIGITS.teacher_spec(w) for w in LEARNED if w != "tirt"),
    *(
        DIGITS.student_spec("dash", "transfer", s, prior=w)
        for s in SEEDS
        for w in LEARNED
        if w != "tirt"
    ),
    *(
        DIGITS.student_spec("dash", w, s)
        for s in SEEDS
        for w in ("tirt", "tirt_eps", "uncertainty", "min_snr")
    ),
    *(DIGITS.student_spec(row, "transfer") for row in ANCHORS),
    *(
        DIGITS.student_spec("cond_only", "transfer", null_init=start)
        for start in ("zero", "mean_of_classes")
    ),
    DIGITS.student_spec("cond_only", "transfer", embed_std=0.02),
)
PARTS = {"core": _CORE, "rows": _OTHER_ROWS, "studies": _STUDIES}
SPECS = {name: spec for part in PARTS.values() for name, spec in part.items()}
SHIPPED = {*PARTS["core"], *PARTS["rows"], DIGITS.classifier}  # whose weights have room here
