"""What a run records of its method: scores on the test split, and what it makes of its training labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.streams import rng
from ..manifest import Labels, Manifest
from ..models.methods import Method
from ..training.data import SplitData
from ..training.feed import Feed
from ..training.loop import predictions
from ..training.metrics import accuracy, class_f1, confusion, noise_scores, task_scores
from .choose import Choice


def agreement_subset(train: SplitData, images: int) -> SplitData:
    """A random subset of the training images, the same for every seed and method.

    Args:
        train: all training images.
        images: how many to take, at most.
    """
    count = min(images, len(train))
    chosen = np.sort(rng(0, "agreement").choice(len(train), count, replace=False))
    labels = {name: Labels(labels.values[chosen], labels.present[chosen]) for name, labels in train.labels.items()}
    return SplitData(np.ascontiguousarray(train.images[chosen]), labels)


def evaluate(
    manifest: Manifest, choice: Choice, method: Method, test: SplitData, test_feed: Feed, agreement_feed: Feed
) -> dict[str, Any]:
    """An epoch's scores by task, each head's, and how far training images are predicted as labelled."""
    by_task, by_head = predictions(method, test_feed) if choice.truth else ({}, {})
    scored = {task: (manifest.header.tasks[task].kind, test.labels[name]) for task, name in choice.truth.items()}
    heads = {}
    for name, prediction in by_head.items():
        task = method.heads[name]
        if task in scored:
            heads[name] = task_scores({task: prediction}, {task: scored[task]})[task]
    fitted, _ = predictions(method, agreement_feed)
    return {
        "test": task_scores(by_task, scored),
        "heads": heads,
        "agreement": _agreement(manifest, choice, fitted, agreement_feed),
    }


def final_details(
    manifest: Manifest,
    choice: Choice,
    method: Method,
    test: SplitData,
    predicted: Mapping[str, Any],
    agreement_feed: Feed,
) -> dict[str, Any]:
    """What only the last epoch's method is asked for.

    Args:
        manifest: where the labels come from.
        choice: the run's label sets.
        method: after the last epoch.
        test: the test images.
        predicted: by task, what the method predicts for them.
        agreement_feed: training images.

    Returns:
        `confusion` and `class_f1` by categorical task; and by noisy categorical set `noise`: the estimated noise rate,
        and with true labels the true one and the error of the estimated transition matrix (`noise_scores`).
    """
    truths = {
        task: test.labels[name]
        for task, name in choice.truth.items()
        if manifest.header.tasks[task].kind == "categorical"
    }
    fitted, _ = predictions(method, agreement_feed)
    known = _labels(agreement_feed)
    noise = {
        spec.name: noise_scores(fitted[spec.task], known[spec.name], known.get(choice.truth.get(spec.task, "")))
        for spec in choice.specs
        if not spec.continuous
    }
    return {
        "confusion": {task: confusion(predicted[task], labels).tolist() for task, labels in truths.items()},
        "class_f1": {task: class_f1(predicted[task], labels).tolist() for task, labels in truths.items()},
        "noise": noise,
    }


def _labels(feed: Feed) -> dict[str, Labels]:
    return {name: Labels(values.cpu().numpy(), feed.masks[name].cpu().numpy()) for name, values in feed.labels.items()}


def _agreement(manifest: Manifest, choice: Choice, fitted: Mapping[str, Any], feed: Feed) -> dict[str, float]:
    """How often predictions on training images equal each label set, the true one included: memorising, seen."""
    header, found = manifest.header, {}
    for name, labels in _labels(feed).items():
        task = choice.specs[0].task if name == choice.voted else header.label_sets[name].task
        if task not in fitted:
            continue  # a set that was chosen beside others and that this method does not learn from
        if header.tasks[task].kind == "categorical":
            found[name] = accuracy(fitted[task], labels)
        else:
            found[name] = task_scores(fitted, {task: ("continuous", labels)})[task]["ccc"]
    return found


def main_score(scores: Mapping[str, Mapping[str, float]]) -> tuple[str, float] | tuple[None, None]:
    """The first scored task's headline figure: its name (`accuracy` or `ccc`) and value; twice None without one."""
    for first in scores.values():
        name = "accuracy" if "accuracy" in first else "ccc"
        return name, first[name]
    return None, None


def oracle(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The epoch with the best headline figure, which test labels choose, and its scores; None where nothing is scored.

    Args:
        rows: of all epochs, at least one.
    """
    if not rows[-1]["test"]:
        return None
    best = max(rows, key=lambda row: main_score(row["test"])[1] or 0.0)
    return {key: best[key] for key in ("epoch", "test")}


def score_text(scores: Mapping[str, Mapping[str, float]], digits: int) -> str:
    """The headline figure in words, such as `accuracy 0.354`."""
    name, value = main_score(scores)
    return "not scored" if value is None else f"{name} {value:.{digits}f}"
