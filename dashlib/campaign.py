"""Every run of a scale on one accelerator, in stages that a time limit may cut and a call resume.

classifier -> teachers -> students (those of a process share every batch and the teacher's answers)
-> gap metrics, pictures and scores.  A run is stored in ``results/`` when it is trained; its
metrics are added at the end of every call.  What is not finished lies in the work folder.
"""

import itertools
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from dashlib import classifier, data, results
from dashlib.experiments import (
    balanced_labels,
    curves,
    half,
    start_worker,
    starting_noise,
    to_bytes,
    trainer,
)
from dashlib.guidance import Branches, Constant, GuidanceSchedule, Guided, SingleHead
from dashlib.metrics import NoisyPairs, compare, frechet, gaussian, noisy_pairs, predict
from dashlib.sampling import sample
from dashlib.schedule import Schedule
from dashlib.specs import HEADLINE, SCALES, Scale, Spec, specs_of
from dashlib.training import StepRecord, Trainer
from dashlib.unet import UNet, count_parameters
from dashlib.weighting import TIRT

SAMPLING_SEEDS = (1234, 1235, 1236)


@dataclass(frozen=True)
class Plan:
    """Where a campaign runs, and how large it is."""

    scale: str
    work: Path  # unfinished training and single scores
    data: Path
    device: str = "cuda"
    processes: int = 4
    samples: int = 2_000  # scored per guidance scale and sampling seed
    many: int = 10_000  # scored for the teacher and the headline rows, at a few scales
    chunk: int = 1_000  # sampled at a time
    pairs: int = 10_000  # for the gap metrics
    kept: int = 20  # pictures stored per guidance scale
    sampling_steps: int = 50
    classifier_epochs: int = 12
    steps: int | None = None  # of every training, instead of the spec's, to try a campaign out
    tiny: bool = False  # small batches of few images, too
    save_seconds: float = 60  # between checkpoints
    only: str = ""  # runs whose name contains this

    @property
    def settings(self) -> Scale:
        """The scale's settings."""
        return SCALES[self.scale]

    def specs(self) -> list[Spec]:
        """The runs to make, shortened if asked."""
        found = [s for s in specs_of(self.scale).values() if self.only in s.name or not s.teacher]
        if self.steps is not None:
            cut = {"steps": self.steps, "read_every": min(self.steps, 10)}
            found = [replace(s, train=replace(s.train, **cut)) for s in found]
        return [replace(s, batch_size=4) for s in found] if self.tiny else found


def shortened(plan: Plan) -> Plan:
    """The same campaign with a few steps and samples, to see it through on a CPU."""
    return replace(
        plan, samples=10, many=20, chunk=10, pairs=20, kept=2, sampling_steps=2, steps=4, tiny=True,
        classifier_epochs=1, save_seconds=0,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _dataset(plan: Plan) -> data.Dataset:
    """The images, on the device."""
    found = data.load(plan.settings.name, plan.data)
    if plan.tiny:
        parts = (data.Images(p.x[:500], p.y[:500]) for p in (found.train, found.test))
        found = data.Dataset(found.name, found.num_classes, *parts)
    return found.to(plan.device)


# --- training ------------------------------------------------------------------------------------


def compiled(model: UNet) -> UNet:
    """The model, compiled where that pays (on an accelerator); its weights stay where they are."""
    if next(model.parameters()).is_cuda:
        torch._dynamo.config.recompile_limit = 64  # one per network, batch size and mode
        model.compile(dynamic=False)
    return model


class Fast:
    """A network for inference: on the device, compiled, in half precision on an accelerator."""

    def __init__(self, model: UNet, device: str) -> None:
        self.model, self.device = compiled(model.to(device).eval()), device

    @property
    def null_label(self) -> int:
        """Label of the unconditional branch."""
        return self.model.null_label

    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor, *w: Tensor) -> Tensor:
        """Predicted noise; fp16's ten bits keep rounding under a gray level, bf16's do not."""
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.float16, enabled=kind == "cuda"):
            return self.model(x_t, t, y, *w)


class Group:
    """Trainers of one seed that share every batch; saved and resumed as one."""

    def __init__(self, specs: list[Spec], plan: Plan, key: str) -> None:
        first = specs[0]
        self.specs, self.plan, self.folder = specs, plan, plan.work / key
        self.stream = data.Stream(
            _dataset(plan).train, Schedule(), first.unet.null_label, first.batch_size,
            seed=first.seed, flip=plan.settings.flip,
        )  # fmt: skip
        self.trainers = [prepared(spec, plan.device) for spec in specs]
        self.records: list[list[StepRecord]] = [[] for _ in specs]
        self.importance: list[list[Tensor]] = [[] for _ in specs]
        self.seconds = 0.0
        if (self.folder / "group.pt").exists():
            self._resume()

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return self.trainers[0].step == self.specs[0].train.steps

    def advance(self) -> Iterator[int]:
        """Train, yielding the step after each group of ``read_every`` steps."""
        batches: Iterator[data.Batch] = self.stream
        if teacher := self.specs[0].teacher:
            model = results.load(teacher).model()
            batches = data.with_teacher(self.stream, Fast(model, self.plan.device))
        copies = itertools.tee(batches, len(self.trainers))
        runs = [t.run(copy) for t, copy in zip(self.trainers, copies, strict=True)]
        clock = time.perf_counter()
        while not self.done:
            for i, run in enumerate(runs):
                self.records[i] += itertools.islice(run, self.specs[i].train.read_every)
                weighting = self.trainers[i].weighting
                if isinstance(weighting, TIRT) and weighting.lam.requires_grad:
                    self.importance[i].append(weighting.lam.detach().cpu().clone())
            now = time.perf_counter()
            self.seconds, clock = self.seconds + now - clock, now
            yield self.trainers[0].step

    def save(self) -> None:
        """Write all trainers and records; the former checkpoint stays until this one is whole."""
        new, old = self.folder.with_suffix(".new"), self.folder.with_suffix(".old")
        shutil.rmtree(new, ignore_errors=True)
        for spec, run in zip(self.specs, self.trainers, strict=True):
            run.save(new / Path(spec.name).name, self.stream)
        records = [[asdict(r) for r in group] for group in self.records]
        torch.save((records, self.importance, self.seconds), new / "group.pt")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(old)
        new.rename(self.folder)

    def _resume(self) -> None:
        for spec, run in zip(self.specs, self.trainers, strict=True):
            run.resume(self.folder / Path(spec.name).name, self.stream)
        records, self.importance, self.seconds = torch.load(self.folder / "group.pt")
        self.records = [[StepRecord(**r) for r in group] for group in records]

    def store(self) -> None:
        """Store every trained network as a run without scores."""
        for i, (spec, run) in enumerate(zip(self.specs, self.trainers, strict=True)):
            model = half(run.ema)
            trace = curves(self.records[i])
            if self.importance[i]:
                trace["lambda"] = torch.stack(self.importance[i])
            metrics = {"parameters": count_parameters(model), "trained_beside": len(self.specs)}
            seconds = {"train": round(self.seconds, 1)}
            stored = results.Run(
                spec.name, asdict(spec), spec.seed, seconds, 0.0, self.plan.samples, metrics
            )
            weights = {k: v.half().cpu() for k, v in model.state_dict().items()}
            results.store(stored, weights=weights, trace=trace)


def prepared(spec: Spec, device: str) -> Trainer:
    """The untrained run on its device, compiled."""
    run = trainer(spec, device)
    compiled(run.model)
    return run


def warm_up(specs: list[Spec], plan: Plan) -> None:
    """Compile the networks with a random teacher, as long as there is none (minutes)."""
    stream = data.Stream(_dataset(plan).train, Schedule(), 10, specs[0].batch_size)
    teacher = Fast(UNet(plan.settings.teacher), plan.device)
    for spec in specs:
        plain = replace(
            spec, weighting="uniform", init="random", train=replace(spec.train, steps=2)
        )
        if spec.objective == "fitnets":  # its features are not compiled
            continue
        clock = time.perf_counter()
        for _ in prepared(plain, plan.device).run(data.with_teacher(stream, teacher)):
            pass
        print(f"compiled {spec.name} in {time.perf_counter() - clock:.0f} s", flush=True)


def train_group(names: tuple[str, ...], plan: Plan, key: str, deadline: float) -> str:
    """Train the runs side by side until done, or saved at the deadline (``time.time()``).

    Students whose teacher is still in training compile their networks and wait for it.
    """
    chosen = [spec for spec in plan.specs() if spec.name in names]
    teacher = results.root() / (chosen[0].teacher or "") / "run.json"
    if chosen[0].teacher and not teacher.exists():
        warm_up(chosen, plan)
        while not teacher.exists():
            if time.time() > deadline:
                return f"{key}: no teacher yet"
            time.sleep(0.5)
    group = Group(chosen, plan, key)
    saved = started = time.time()
    for step in group.advance():
        if (late := time.time() > deadline) or time.time() - saved > plan.save_seconds:
            group.save()
            saved = time.time()
            print(f"{key}: step {step}, {saved - started:.0f} s", flush=True)
        if late and not group.done:
            return f"{key}: saved at step {step} of {chosen[0].train.steps}"
    group.store()
    shutil.rmtree(group.folder, ignore_errors=True)
    shutil.rmtree(group.folder.with_suffix(".old"), ignore_errors=True)
    last = group.records[0][-1]
    return f"{key}: trained {len(names)} in {group.seconds:.0f} s, loss {last.loss:.4f}"


def train_classifier(plan: Plan) -> str:
    """Train and store the classifier that scores samples."""
    parts, name = _dataset(plan), plan.settings.classifier
    clock = time.perf_counter()
    options = {"epochs": plan.classifier_epochs, "batch_size": 250, "width": 128}
    model = classifier.fit(parts.train, flip=plan.settings.flip, **options)
    seconds = {"train": round(time.perf_counter() - clock, 1)}
    floor = [_features_gaussian(model, part.x) for part in (parts.test, parts.train)]
    metrics = {
        "accuracy_train": classifier.accuracy(model, parts.train),
        "accuracy_test": classifier.accuracy(model, parts.test),
        "frechet_test_to_train": frechet(*floor),
    }
    shape = {"channels": parts.train.x.shape[1], "size": parts.train.x.shape[-1], "classes": 10}
    run = results.Run(name, options | shape, 0, seconds, 0.0, len(parts.test), metrics)
    results.store(run, weights={k: v.cpu() for k, v in model.state_dict().items()})
    return f"classifier: {metrics}"


# --- scoring -------------------------------------------------------------------------------------


def _features_gaussian(judge: classifier.Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    return gaussian(classifier.features_of(judge, x).cpu())


@lru_cache(maxsize=1)
def _judge(plan: Plan) -> tuple[classifier.Classifier, tuple[Tensor, Tensor]]:
    """The classifier and the Gaussian of the training images' features."""
    judge = results.load(plan.settings.classifier).classifier().to(plan.device)
    return judge, _features_gaussian(judge, _dataset(plan).train.x)


@lru_cache(maxsize=4)
def _fast(name: str, device: str) -> Fast:
    return Fast(results.load(name).model(), device)


def guided(model: Any, y: Tensor, w: GuidanceSchedule) -> Any:
    """The sampler's noise predictor: two branches, or the one of a w-conditioned network."""
    cfg = model.model.cfg if isinstance(model, Fast) else model.cfg
    return SingleHead(model, y, w) if cfg.w_conditioned else Guided(model, y, w)


@torch.inference_mode()
def draw(model: Any, w: GuidanceSchedule, noise: Tensor, plan: Plan) -> Tensor:
    """Images from starting noise with balanced labels, a chunk at a time, on the device."""
    labels = balanced_labels(len(noise)).to(plan.device)
    chunks = zip(noise.split(plan.chunk), labels.split(plan.chunk), strict=True)
    parts = [
        sample(guided(model, y, w), x.to(plan.device), Schedule(), steps=plan.sampling_steps)
        for x, y in chunks
    ]
    return torch.cat(parts).clamp(-1, 1)


def score(name: str, label: str, seed: int, n: int, plan: Plan) -> dict[str, Any]:
    """Class accuracy and Frechet distance of n samples."""
    clock = time.perf_counter()
    model, (judge, real) = _fast(name, plan.device), _judge(plan)
    noise = starting_noise(n, model.model.cfg, seed)
    images = draw(model, plan.settings.guidance[label], noise, plan)
    return {
        "run": name, "label": label, "seed": seed, "n": n,
        "accuracy": classifier.accuracy(judge, data.Images(images, balanced_labels(n).to(images.device))),
        "frechet": frechet(_features_gaussian(judge, images), real),
        "seconds": round(time.perf_counter() - clock, 2),
    }  # fmt: skip


@lru_cache(maxsize=2)
def _held_out(teacher: str, plan: Plan) -> tuple[NoisyPairs, Branches]:
    noisy = noisy_pairs(_dataset(plan).test, Schedule(), pairs=plan.pairs)
    return noisy, predict(results.load(teacher).model().to(plan.device), noisy)


def examine(name: str, plan: Plan) -> dict[str, Any]:
    """Full-precision part of the evaluation: gap metrics, and the pictures kept with the run."""
    run = results.load(name)
    model = run.model().to(plan.device)
    noise = starting_noise(plan.kept, model.cfg)
    scales = plan.settings.guidance.values()
    pictures = torch.stack([to_bytes(draw(model, w, noise, plan)) for w in scales])
    metrics = dict(run.metrics)
    if run.config["teacher"] and not model.cfg.w_conditioned:
        noisy, answers = _held_out(run.config["teacher"], plan)
        metrics["gap"] = asdict(compare(predict(model, noisy), answers, noisy, Schedule()))
    trace = {**run.trace, "samples": pictures.cpu()}
    results.store(replace(run, metrics=metrics), weights=run.tensors("weights"), trace=trace)
    return {"run": name, "examined": True}


def scoring_tasks(plan: Plan) -> list[tuple[str, str, int, int]]:
    """What to score, most wanted first: (run, guidance label, sampling seed, samples)."""
    specs = plan.specs()
    head = [s.name for s in specs if not s.teacher or _headline(s)]
    rest = [s.name for s in specs if s.name not in head]
    labels, (first, *others) = list(plan.settings.guidance), SAMPLING_SEEDS
    tasks = [(name, label, first, plan.samples) for name in head + rest for label in labels]
    tasks += [(name, label, s, plan.samples) for s in others for name in head for label in labels]
    tasks += [(name, label, first, plan.many) for label in ("1.5", "TAG", "4") for name in head]
    return tasks


def _headline(spec: Spec) -> bool:
    name = Path(spec.name).name
    return name in {f"{row}-transfer-s0" for row in HEADLINE}


def warm_up_scoring(plan: Plan) -> str:
    """Compile every network for sampling while the teacher trains; other workers read the cache."""
    for cfg in {plan.settings.teacher, *(s.unet for s in plan.specs())}:
        model, noise = Fast(UNet(cfg), plan.device), starting_noise(plan.chunk, cfg)
        for w in (Constant(1.0), Constant(2.0)):
            draw(model, w, noise, replace(plan, sampling_steps=1))
    return "compiled for sampling"


# --- the campaign --------------------------------------------------------------------------------


def _lines(plan: Plan) -> list[dict[str, Any]]:
    path = plan.work / "scores.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _note(plan: Plan, entry: dict[str, Any]) -> None:
    with (plan.work / "scores.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


Task = tuple[Callable[..., Any], tuple[Any, ...]]


def _drain(
    pool: ProcessPoolExecutor, tasks: list[Task], at_once: int, deadline: float
) -> Iterator[Any]:
    """Results of tasks as they end; none is started after the deadline."""
    waiting, running = iter(tasks), set[Future[Any]]()
    while True:
        while len(running) < at_once and time.time() < deadline and (task := next(waiting, None)):
            running.add(pool.submit(task[0], *task[1]))
        if not running:
            return
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            try:
                yield future.result()
            except Exception:  # the others go on; the next call tries this one again
                traceback.print_exc()


def _missing(plan: Plan, specs: list[Spec]) -> list[Spec]:
    return [s for s in specs if not (results.root() / s.name / "run.json").exists()]


def _groups(plan: Plan, specs: list[Spec]) -> list[tuple[str, tuple[str, ...]]]:
    """Runs trained side by side: those of a seed, the seed with most runs over two processes."""
    groups = []
    for seed in sorted({s.seed for s in specs}):
        names = [s.name for s in specs if s.seed == seed]
        size = max(-(-len(specs) // plan.processes), 1)
        parts = -(-len(names) // size)
        groups += [(f"students-s{seed}-{i}", tuple(names[i::parts])) for i in range(parts)]
    return groups


def _start() -> None:
    """A worker: one thread, and full precision wherever none lower is asked for."""
    start_worker()
    torch.backends.cudnn.allow_tf32 = False


def run(plan: Plan, seconds: float) -> bool:
    """Go on with the campaign for so many seconds; returns whether all of it is done."""
    deadline = time.time() + seconds
    plan.work.mkdir(parents=True, exist_ok=True)
    context = get_context("spawn")
    with ProcessPoolExecutor(plan.processes, mp_context=context, initializer=_start) as pool:
        for stage in (_training_stage, _examine_stage, _score_stage):
            for outcome in _drain(pool, stage(plan, deadline), plan.processes, deadline):
                if isinstance(outcome, dict):
                    _note(plan, outcome)
                print(f"{deadline - time.time():5.0f} s left  {outcome}", flush=True)
            if stage(plan, deadline):
                break
    collect(plan)
    return not any(stage(plan, deadline) for stage in (_training_stage, _score_stage))


def _training_stage(plan: Plan, deadline: float) -> list[Task]:
    """The teachers, students (which wait for them) and the classifier."""
    teachers = _missing(plan, [s for s in plan.specs() if s.teacher is None])
    tasks: list[Task] = [
        (train_group, ((s.name,), plan, Path(s.name).name, deadline)) for s in teachers
    ]
    if not (results.root() / plan.settings.classifier / "run.json").exists():
        tasks.append((train_classifier, (plan,)))
    if teachers:
        tasks.append((warm_up_scoring, (plan,)))
    wanted = [s for s in plan.specs() if s.teacher]
    left = {s.name for s in _missing(plan, wanted)}
    groups = [(key, names) for key, names in _groups(plan, wanted) if left & set(names)]
    return tasks + [(train_group, (names, plan, key, deadline)) for key, names in groups]


def _examine_stage(plan: Plan, deadline: float) -> list[Task]:
    seen = {line["run"] for line in _lines(plan) if "examined" in line}
    return [(examine, (s.name, plan)) for s in plan.specs() if s.name not in seen]


def _score_stage(plan: Plan, deadline: float) -> list[Task]:
    seen = {(e["run"], e["label"], e["seed"], e["n"]) for e in _lines(plan) if "label" in e}
    return [(score, (*task, plan)) for task in scoring_tasks(plan) if task not in seen]


def collect(plan: Plan) -> None:
    """Put all scores into the metrics of their runs."""
    lines = [line for line in _lines(plan) if "label" in line]
    for name in {line["run"] for line in lines}:
        run, mine = results.load(name), [line for line in lines if line["run"] == name]
        metrics = dict(run.metrics)
        for key, n in (("guidance", plan.samples), ("guidance_many", plan.many)):
            labels = [
                x
                for x in plan.settings.guidance
                if any(e["label"] == x and e["n"] == n for e in mine)
            ]
            if labels:
                metrics[key] = {
                    x: _summary([e for e in mine if (e["label"], e["n"]) == (x, n)]) for x in labels
                }
        seconds = run.seconds | {"score": round(sum(e["seconds"] for e in mine), 1)}
        parts = {part: run.tensors(part) for part in run.files}
        results.store(replace(run, metrics=metrics, seconds=seconds), **parts)


def _summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over sampling seeds, and the seeds' own values."""
    by_seed = {str(e["seed"]): {k: e[k] for k in ("accuracy", "frechet")} for e in entries}
    means = {k: sum(s[k] for s in by_seed.values()) / len(by_seed) for k in ("accuracy", "frechet")}
    return {**means, "n": entries[0]["n"], "seeds": by_seed}


@click.command(name="campaign")
@click.argument("scale", type=click.Choice(["fashion_mnist"]))
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default="campaign",
    show_default=True,
    help="Folder of unfinished training and single scores.",
)
@click.option(
    "--data",
    "root",
    type=click.Path(path_type=Path),
    default="data",
    show_default=True,
    help="Folder of the images.",
)
@click.option(
    "--minutes", default=9.0, show_default=True, help="When to stop; call again to go on."
)
@click.option("--processes", default=4, show_default=True, help="Workers that share the device.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--only", default="", help="Only students whose name contains this text.")
@click.option("--steps", type=int, help="Steps of every training, instead of the spec's.")
@click.option("--dry", is_flag=True, help="A few steps and samples, to see it through.")
def command(
    scale: str, work: Path, root: Path, minutes: float, processes: int, device: str, only: str,
    steps: int | None, dry: bool,
) -> None:  # fmt: skip
    """Make every run of SCALE on one accelerator, in stages; stores them in results/."""
    plan = Plan(scale, work, root, device, processes, only=only, steps=steps)
    finished = run(shortened(plan) if dry else plan, minutes * 60)
    click.echo("finished" if finished else "not finished: the same command goes on")
