"""Which label sets a run learns from, and which ones it is scored against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..core.errors import UserError
from ..core.schema import TRUTH_ANNOTATORS, LabelSet
from ..core.streams import rng
from ..manifest import Labels, Manifest
from ..models.methods import METHODS, LabelSetSpec
from .holdout import is_holdout
from .noise import majority_vote
from .protocols import noisy_label_sets

TestSplit = Literal["auto", "test", "val"]
"""As `RunSettings` has it."""


@dataclass(frozen=True)
class Choice:
    """The label sets of a run.

    Attributes:
        labels: names as chosen, before a majority vote.
        specs: what the method learns from; one voted set for a method that uses the majority.
        voted: the name of the set to be voted from `labels`, or None.
        truth: by task, the name of the set to be scored against; a task without one is learned and not scored.
        notes: sentences the user should see.
    """

    labels: tuple[str, ...]
    specs: tuple[LabelSetSpec, ...]
    voted: str | None
    truth: dict[str, str]
    notes: tuple[str, ...] = ()


def choose(manifest: Manifest, method: str, requested: Sequence[str] = (), *, partly: bool = False) -> Choice:
    """Decide a run's label sets.

    Args:
        manifest: where the sets are.
        method: a registered name; what it uses decides.
        requested: names of label sets; empty for all noisy ones that the method can use, none by `clean` or `human`.
        partly: leave out requested sets that the method cannot use, with a note, instead of refusing them.

    Raises:
        UserError: a set is missing, or the method cannot use what was asked.
    """
    uses = METHODS[method].uses
    chosen, notes = learnable(manifest, method, requested, partly=partly)
    tasks = list(dict.fromkeys(found.task for found in chosen))
    truth = {task: name for task in tasks if (name := _truth(manifest, task)) is not None}
    lacking = {task: _no_truth(manifest, task) for task in tasks if task not in truth}
    from_truth = uses.labels == "truth"
    notes += [
        f"'{task}' is {'left out' if from_truth else 'learned and not scored'}: {why}." for task, why in lacking.items()
    ]
    if not truth and not from_truth and manifest.select(splits=["test", "val"]).rows:
        notes.append(
            f"Labels of some test images are enough for scores: 'noisyfer import {manifest.path} FILE --as human' "
            "brings them in."
        )
    names = tuple(found.name for found in chosen)
    if from_truth:
        if not truth:
            why = "; ".join(lacking.values())
            raise UserError(
                f"{method} learns from true labels, and {manifest.path} has none: {why}. Choose the others by --method."
            )
        chosen = [manifest.label_set(name) for name in truth.values()]
        return Choice(names, tuple(_spec(manifest, found) for found in chosen), None, truth, tuple(notes))
    if uses.labels == "majority":
        voted_already = [found.name for found in chosen if found.kind == "aggregate"]
        if voted_already:
            raise UserError(f"{method} takes a vote itself; {', '.join(voted_already)} is one already. Leave it out.")
        stored = _stored_majority(manifest, names)
        if stored is not None:
            return Choice(names, (_spec(manifest, stored),), None, truth, tuple(notes))
        first = _spec(manifest, chosen[0])
        voted = LabelSetSpec(f"{first.task}_majority", first.task, first.width)
        return Choice(names, (voted,), voted.name, truth, tuple(notes))
    return Choice(names, tuple(_spec(manifest, found) for found in chosen), None, truth, tuple(notes))


def choose_split(manifest: Manifest, choice: Choice, asked: TestSplit) -> tuple[TestSplit, Choice]:
    """The split that a run is scored on, and the choice of what can be scored there, with a note of what cannot.

    Args:
        manifest: where the sets are.
        choice: from `choose`.
        asked: a split, or `auto` for the test split, or the validation split of a manifest without test images.
    """
    split: TestSplit = asked
    notes, truth = list(choice.notes), dict(choice.truth)
    if asked == "auto":
        only_val = manifest.select(splits=["val"]).rows > 0 and not manifest.select(splits=["test"]).rows
        split = "val" if only_val else "test"
        if only_val and truth:
            notes.append(f"{manifest.path} has no test split: scored on its validation split, which selects nothing.")
    view = manifest.select(splits=[split])
    for task, name in choice.truth.items():
        if not view.labels(name).present.any():
            notes.append(f"'{task}' is not scored: '{name}' in {manifest.path} labels no {split} image.")
            del truth[task]
    return split, replace(choice, truth=truth, notes=tuple(notes))


def learnable(
    manifest: Manifest, method: str, requested: Sequence[str] = (), *, partly: bool = False
) -> tuple[list[LabelSet], list[str]]:
    """The sets that a method learns from, whether or not there is a truth to score it by, and sentences to be seen.

    Args:
        manifest: where the sets are.
        method: a registered name.
        requested: as of `choose`.
        partly: as of `choose`.

    Raises:
        UserError: a set is missing, or the method cannot use what was asked.
    """
    uses = METHODS[method].uses
    notes: list[str] = []
    if requested:
        chosen = [manifest.label_set(name) for name in dict.fromkeys(requested)]
    else:
        chosen = noisy_label_sets(manifest)
    if partly or not requested:
        usable = [found for found in chosen if uses.continuous or not _continuous(manifest, found)]
        if len(usable) < len(chosen):
            left = ", ".join(found.name for found in chosen if found not in usable)
            notes.append(f"{method} cannot use continuous labels and leaves out {left}.")
        chosen = usable
    if not chosen:
        raise UserError(
            f"{manifest.path} has no noisy label set that {method} could learn from; name some with --labels. "
            f"There are: {', '.join(manifest.header.label_sets) or 'none'}."
        )
    _refuse(manifest, method, chosen)
    return chosen, notes


def vote(sets: Sequence[Labels], classes: int, seed: int) -> Labels:
    """The majority vote of categorical label sets over their labelled samples.

    Args:
        sets: at least one.
        classes: K.
        seed: of the stream that breaks ties.
    """
    values = np.stack([labels.values for labels in sets])
    present = np.stack([labels.present for labels in sets])
    voted, any_vote = majority_vote(values, present, classes, rng(seed, "majority"))
    return Labels(voted.astype(np.int64), any_vote)


def _continuous(manifest: Manifest, label_set: LabelSet) -> bool:
    return manifest.header.tasks[label_set.task].kind == "continuous"


def _spec(manifest: Manifest, label_set: LabelSet) -> LabelSetSpec:
    continuous = _continuous(manifest, label_set)
    width = 2 if continuous else len(manifest.header.tasks[label_set.task].classes)
    transition = None if continuous else _transition(label_set.provenance.get("transition_matrix"), width)
    return LabelSetSpec(label_set.name, label_set.task, width, continuous, transition)


def _transition(found: Any, classes: int) -> tuple[tuple[float, ...], ...] | None:
    """A provenance's transition matrix, row the true class; None where it is no row-stochastic K×K matrix."""
    try:
        matrix = np.array(found, dtype=float)
    except (TypeError, ValueError):
        return None
    if matrix.shape != (classes, classes) or (matrix < 0).any() or not np.allclose(matrix.sum(axis=1), 1, atol=1e-4):
        return None
    return tuple(tuple(row) for row in matrix.tolist())


def _truth(manifest: Manifest, task: str) -> str | None:
    """The set of a task to be scored against: in a search's manifest its held-out labels, whatever else is there."""
    sets = [found for found in manifest.header.label_sets.values() if found.task == task]
    held_out = [found.name for found in sets if is_holdout(found)]
    true = [found.name for annotator in TRUTH_ANNOTATORS for found in sets if found.annotator == annotator]
    return next(iter(held_out + true), None)


def _no_truth(manifest: Manifest, task: str) -> str:
    return (
        f"it has no label set for '{task}' by {' or '.join(TRUTH_ANNOTATORS)}; there are: "
        f"{', '.join(found.name for found in manifest.header.label_sets.values() if found.task == task)}"
    )


def _stored_majority(manifest: Manifest, names: Sequence[str]) -> LabelSet | None:
    """The manifest's own majority vote of exactly these sets, if it has one."""
    for found in manifest.header.label_sets.values():
        if found.provenance.get("method") == "majority" and set(found.parents) == set(names):
            return found
    return None


def _refuse(manifest: Manifest, method: str, chosen: Sequence[LabelSet]) -> None:
    uses = METHODS[method].uses
    continuous = [found.name for found in chosen if _continuous(manifest, found)]
    if continuous and not uses.continuous:
        raise UserError(f"{method} learns from categorical labels only and cannot use {', '.join(continuous)}.")
    if len(chosen) > 1 and not uses.several:
        names = ", ".join(found.name for found in chosen)
        raise UserError(f"{method} learns from one label set, and {len(chosen)} were chosen: {names}.")
    tasks = dict.fromkeys(found.task for found in chosen)
    if len(tasks) > 1 and not uses.continuous:
        raise UserError(f"{method} learns one task at a time, and the chosen sets are for {' and '.join(tasks)}.")


def refuse_missing(manifest: Manifest, method: str, labels: dict[str, Labels], names: Sequence[str]) -> None:
    """Refuse label sets without any label, and ones that lack some for a method that cannot leave samples out.

    Raises:
        UserError: naming the first such set and how many labels it lacks.
    """
    for name in names:
        if not labels[name].present.any():
            raise UserError(f"'{name}' in {manifest.path} labels no training image, so {method} has nothing to learn.")
    if METHODS[method].uses.missing:
        return
    for name in names:
        missing = int((~labels[name].present).sum())
        if missing:
            raise UserError(
                f"{method} needs a label of every set on every sample, and '{name}' in {manifest.path} lacks {missing} "
                f"of {len(labels[name].present)}. Choose other sets with --labels, or fill it in first."
            )
