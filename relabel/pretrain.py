"""Train a teacher on human labels: resumable at every epoch, its validation figures in the file."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import timm
import torch

from .. import __version__
from ..core.config import differences
from ..core.errors import UserError
from ..core.files import finite, read_json, sha256_file, write_json
from ..core.schema import STATUS_OK
from ..core.streams import rng, stream_seed
from ..manifest import Labels, Manifest
from ..models.methods import Problem
from ..training.data import SplitData, load_split
from ..training.feed import Feed, class_weights
from ..training.loop import check_weights, predictions, repeatable, train_epoch
from ..training.metrics import confusion, task_scores
from ..training.pictures import draw_confusion, label_axes, new_figure, save_figure
from .lesson import Lesson, LessonConfig
from .pretrain_plan import PretrainPlan, start_from
from .teacher_files import write_teacher

Array = np.ndarray[Any, Any]

HELD_OUT = 10
"""One of so many training images is held out for validation where a source has no split of its own for it."""


class Watcher(Protocol):
    """Someone who looks on."""

    def said(self, text: str) -> None:
        """Something that the user should know."""

    def decoding(self, split: str, done: int, total: int) -> None:
        """So many images of a split are decoded."""

    def started(self, plan: PretrainPlan, epochs_done: int) -> None:
        """Training is about to begin, or to go on after so many epochs."""

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """A step of an epoch (both from 1) is done."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is done and recorded."""


@dataclass(frozen=True)
class Material:
    """What is learned from, and what is scored on.

    Attributes:
        train: decoded images, of which `train_rows` are learned.
        train_rows: positions with a label of some set, the held-out ones left out.
        val: decoded images, of which `val_rows` are scored.
        val_rows: positions.
        measured_on: what the validation images are, in words.
    """

    train: SplitData
    train_rows: Array
    val: SplitData
    val_rows: Array
    measured_on: str


def pretrain(plan: PretrainPlan, watcher: Watcher | None = None, *, again: bool = False) -> dict[str, Any]:
    """Train a teacher to its end, from its last recorded epoch; a finished one is only read.

    Args:
        plan: from `plan_pretraining`.
        watcher: is told how it goes.
        again: forget what is there and start over.

    Returns:
        What `result.json` in the run's folder holds; `finished_before` is true where nothing was left to do.

    Raises:
        UserError: unusable data or weights, a loss that is not finite, a file that this plan did not make.
    """
    folder = plan.folder
    if not again:
        _refuse_other(plan)
    with folder.locked(), repeatable():
        if again:
            folder.clear()
        finished = folder.finished()
        if finished is not None and plan.out.exists():
            if sha256_file(plan.out) == finished["sha256"]:
                return {**finished, "finished_before": True}
            raise UserError(
                f"{plan.out} has changed since it was trained here. Choose another --out, or replace it with --again."
            )
        folder.start(_record(plan))
        return _train(plan, watcher)


def _refuse_other(plan: PretrainPlan) -> None:
    """Refuse to replace or to go on with something that another configuration made."""
    record = plan.folder.config
    if not record.exists():
        if plan.out.exists():
            raise UserError(
                f"{plan.out} is there already, and no {plan.folder.path} beside it says how it was made. Choose "
                "another --out, or replace it with --again."
            )
        return
    stored, wanted = read_json(record), finite(_record(plan))
    changed = [
        *differences(stored.get("run") or {}, wanted["run"]),
        *(["the manifest"] if stored.get("manifest") != wanted["manifest"] else []),
    ]
    if changed and (plan.out.exists() or plan.folder.checkpoint.exists()):
        raise UserError(
            f"{plan.out} is made with another configuration ({'; '.join(changed)}). Choose another --out, or replace "
            "it with --again."
        )
    if changed:  # nothing was trained yet, such as when the first weights did not fit
        record.unlink()


def _train(plan: PretrainPlan, watcher: Watcher | None) -> dict[str, Any]:
    settings, device = plan.settings, torch.device(plan.device)
    lesson = _build(plan, device, watcher)
    material = load_material(plan, watcher)
    feed = Feed(material.train, device, augment=settings.augment, rows=material.train_rows)
    val_feed = Feed(material.val, device, rows=material.val_rows)
    weights = _weights(plan, material)
    done = 0
    rows: list[dict[str, Any]] = []
    if (stored := plan.folder.load(device)) is not None:
        done, state, rows = stored
        lesson.load_state_dict(state)
    if watcher is not None:
        watcher.started(plan, done)
    steps = Feed.steps(len(feed), settings.batch_size)
    for epoch in range(done, settings.epochs):

        def on_step(step: int, loss: float, epoch: int = epoch) -> None:
            if watcher is not None:
                watcher.step(epoch + 1, step, steps, loss)

        began = time.perf_counter()
        losses = train_epoch(
            lesson,
            feed,
            seed=plan.seed,
            epoch=epoch,
            batch_size=settings.batch_size,
            on_step=on_step,
            weights=weights,
        )
        check_weights(lesson, epoch)
        scores = _scores(plan, material, predictions(lesson, val_feed)[0])
        rows.append({"epoch": epoch + 1, "losses": losses, "val": scores, "seconds": time.perf_counter() - began})
        plan.folder.save(epoch + 1, lesson.state_dict(), rows)
        if watcher is not None:
            watcher.epoch(rows[-1])
    return _finish(plan, lesson, material, rows, predictions(lesson, val_feed)[0])


def _build(plan: PretrainPlan, device: torch.device, watcher: Watcher | None) -> Lesson:
    torch.manual_seed(stream_seed(plan.seed, "weights"))
    network = plan.description.build()
    if plan.init is not None:
        said = start_from(network, plan.description.architecture.name, plan.init)
        if watcher is not None:
            watcher.said(said)
    problem = Problem(plan.settings.image_size, plan.sets, plan.manifest.rows)
    config = LessonConfig(learning_rate=plan.settings.learning_rate, epochs=plan.settings.epochs)
    return Lesson(network, problem, config, device)


def load_material(plan: PretrainPlan, watcher: Watcher | None = None) -> Material:
    """Decode the training images and those for validation."""

    def load(split: str, limit: int = 0) -> SplitData:
        def progress(done: int, total: int) -> None:
            if watcher is not None:
                watcher.decoding(split, done, total)

        names = [found.name for found in plan.sets]
        size = plan.settings.image_size
        return load_split(plan.manifest, split, names, size=size, limit=limit, root=plan.root, progress=progress)

    train = load("train", plan.settings.train_images)
    labelled = _labelled(train)
    for found in plan.sets:
        if not train.labels[found.name].present.any():
            raise UserError(
                f"'{found.name}' in {plan.manifest.path} labels no usable training image, so there is nothing to learn."
            )
    if _has_validation(plan.manifest, [found.name for found in plan.sets]):
        val = load("val")
        return Material(train, labelled, val, _labelled(val), "the split val")
    held = max(1, len(labelled) // HELD_OUT)
    if len(labelled) - held < 2:
        raise UserError(
            f"{plan.manifest.path} has {len(labelled)} labelled training images; at least 3 are needed, one of them "
            "for validation."
        )
    # the same ones for every seed and option; the test split must not be looked at
    order = rng(0, "validation").permutation(labelled)
    return Material(
        train, np.sort(order[held:]), train, np.sort(order[:held]), "a tenth of the split train that was held out"
    )


def _labelled(data: SplitData) -> Array:
    """Positions that have a label of some set."""
    present = np.stack([labels.present for labels in data.labels.values()])
    return np.flatnonzero(present.any(axis=0))


def _has_validation(manifest: Manifest, names: list[str]) -> bool:
    """Whether the split `val` has a usable labelled sample of every set."""
    view = manifest.select(splits=["val"])
    usable = np.asarray(view.read(["status"])["status"].cast("string")) == STATUS_OK
    return bool(len(usable)) and all(bool((view.labels(name).present & usable).any()) for name in names)


def _weights(plan: PretrainPlan, material: Material) -> Array | None:
    """How often each training image is drawn; None for once an epoch."""
    if plan.settings.sampling == "plain":
        return None
    categorical = next((found for found in plan.sets if not found.continuous), None)
    if categorical is None:
        raise UserError(
            "Balanced sampling needs classes, and only valence and arousal are learned: leave --balance out."
        )
    return class_weights(_at(material.train.labels[categorical.name], material.train_rows))


def _at(labels: Labels, rows: Array) -> Labels:
    return Labels(labels.values[rows], labels.present[rows])


def _scores(plan: PretrainPlan, material: Material, found: Mapping[str, Array]) -> dict[str, dict[str, float]]:
    """Validation scores by task."""
    truth = {each.task: _at(material.val.labels[each.name], material.val_rows) for each in plan.sets}
    kinds = {task: plan.description.tasks[task].kind for task in truth}
    return task_scores(found, {task: (kinds[task], labels) for task, labels in truth.items() if labels.present.any()})


def _finish(
    plan: PretrainPlan, lesson: Lesson, material: Material, rows: list[dict[str, Any]], found: Mapping[str, Array]
) -> dict[str, Any]:
    """Draw the pictures, write the teacher, and the result after everything else."""
    last = rows[-1]
    counts = {
        each.task: confusion(found[each.task], _at(material.val.labels[each.name], material.val_rows)).tolist()
        for each in plan.sets
        if not each.continuous
    }
    draw_curves(plan.folder.path / "curves.png", rows)
    for task, matrix in counts.items():
        draw_confusion(
            plan.folder.path / f"confusion_{task}.png", np.asarray(matrix), plan.description.tasks[task].classes
        )
    images = {"train": len(material.train_rows), "val": len(material.val_rows)}
    figures = {f"{task}_{name}": value for task, scores in last["val"].items() for name, value in scores.items()}
    record = _record(plan)
    description = replace(
        plan.description,
        figures={"measured_on": material.measured_on, "images": images["val"], **figures},
        training={**record["run"], "manifest": record["manifest"], "images": images, "confusion": counts},
        versions=record["versions"],
    )
    write_teacher(plan.out, lesson.network, description)
    seconds = sum(row["seconds"] for row in rows)
    result = {
        **{"sha256": sha256_file(plan.out), "images": images, "measured_on": material.measured_on},
        **{"last": last, "confusion": counts, "seconds": seconds},
        "images_per_second": images["train"] * len(rows) / seconds,
    }
    write_json(plan.folder.result, result)
    return dict(finite(result))


def draw_curves(path: Path, rows: list[dict[str, Any]]) -> None:
    """Validation scores and training losses over epochs."""
    figure = new_figure(9, 4)
    scores, losses = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for task, found in rows[0]["val"].items():
        for name in ("accuracy", "balanced_accuracy", "ccc"):
            if name in found:
                scores.plot(epochs, [row["val"][task][name] for row in rows], label=f"{task} {name.replace('_', ' ')}")
    one_task = len(rows[0]["losses"]) == 2  # then the sum is that task's
    for name in [name for name in rows[0]["losses"] if not (one_task and name == "loss")]:
        losses.plot(epochs, [row["losses"][name] for row in rows], label=name)
    label_axes(scores, "Validation score", "score")
    label_axes(losses, "Training losses", "mean over the epoch")
    save_figure(figure, path)


def _record(plan: PretrainPlan) -> dict[str, Any]:
    return {
        "run": dict(plan.config),
        "manifest": {"name": plan.manifest.path.name, "sha256": plan.manifest.fingerprint},
        "versions": {
            **{"noisyfer": __version__, "torch": torch.__version__, "timm": timm.__version__},
            **{"numpy": np.__version__, "python": sys.version.split()[0]},
        },
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
    }
