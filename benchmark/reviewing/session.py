"""A review under way: which label comes next, what is decided, and that everything decided is in the file."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...manifest import Manifest
from ..inspecting.beliefs import Beliefs, run_beliefs
from ..inspecting.opinions import Opinions, read_opinions
from ..inspecting.suspects import Quality, judge, opinions_of
from ..inspecting.thumbnails import Thumbnail, Thumbnails, samples_of
from .decisions import Decision, DecisionFile, fits_a_line, made_now, standing

SIDE = 512
"""Pixels of a picture's longer side; smaller pictures keep their size."""
MOST_BYTES = 400_000
REMEMBERED = 50
"""Decisions of earlier sessions that can be undone."""


class Outdated(UserError):
    """A decision about a label that is not the one to be decided now, such as from a second tab."""


@dataclass(frozen=True)
class Queue:
    """The labels to be reviewed.

    Attributes:
        opinions: of the task.
        name: the label set.
        quality: of its labels; None where nobody else says anything of them.
        source: what they are judged by, or empty.
        rows: labelled rows, the most suspicious first.
    """

    opinions: Opinions
    name: str
    quality: Quality | None
    source: str
    rows: np.ndarray[Any, Any]


def make_queue(manifest: Manifest, name: str | None, probs: Path | None = None) -> Queue:
    """Order the labels of a set.

    Args:
        manifest: opened.
        name: the set; None for the first annotator with classes.
        probs: a run's folder or file of predictions, as of `noisyfer inspect`.

    Raises:
        UserError: there is no such set, it has no classes or no labels, or a class name cannot be written to a line.
    """
    chosen = manifest.label_set(name) if name is not None else None
    tasks = [task for task, each in manifest.header.tasks.items() if each.kind == "categorical"]
    for task in tasks if chosen is None else [chosen.task]:
        opinions = read_opinions(manifest, task) if task in tasks else None
        if opinions is None or not (chosen or opinions.annotators):
            continue
        found = chosen.name if chosen is not None else opinions.annotators[0]
        return _ordered(manifest, opinions, found, probs)
    if chosen is not None:
        raise UserError(f"'{chosen.name}' is of the task {chosen.task}, which has no classes; those can be reviewed.")
    raise UserError(f"{manifest.path} has no annotator's label set with classes; name the set to review by --set.")


def _ordered(manifest: Manifest, opinions: Opinions, name: str, probs: Path | None) -> Queue:
    spoilt = [each for each in opinions.task.classes if not fits_a_line(each)]
    if spoilt:
        raise UserError(f"The class {spoilt[0]!r} has a line break in its name and cannot be written to a csv line.")
    predicted = run_beliefs(manifest, probs).get(opinions.task.name) if probs is not None else None
    belief = Beliefs(manifest, opinions, predicted).about(name)
    quality = judge(opinions, name, belief) if belief is not None else None
    labelled = np.flatnonzero(opinions.present[name])
    if not len(labelled):
        raise UserError(f"'{name}' in {manifest.path} has no label to review.")
    first = quality.order if quality is not None else labelled[:0]
    rest = labelled[~np.isin(labelled, first)]
    return Queue(opinions, name, quality, belief.source if belief is not None else "", np.concatenate([first, rest]))


class Session:
    """The state of a review, for a server with several threads.

    Args:
        manifest: opened.
        queue: of the set.
        file: of decisions.
        most: labels of this session at most.
        root: where the images are, if not at the manifest's hint.

    Attributes:
        left_out: samples whose id has a line break.
    """

    def __init__(
        self, manifest: Manifest, queue: Queue, file: DecisionFile, *, most: int, root: Path | None = None
    ) -> None:
        self.queue, self.file = queue, file
        self._lock = threading.Lock()
        ids = manifest.read(["id"])["id"].combine_chunks()
        mine = [each for each in standing(file.decisions) if each.set == queue.name]
        last = {each.id: each.decision for each in mine}
        fresh: list[int] = []
        skipped: list[int] = []
        self.left_out = 0
        places: dict[str, int] = {}
        for row in queue.rows.tolist():
            sample = ids[row].as_py()
            if sample in last:
                places[sample] = row
                if last[sample] == "skip":
                    skipped.append(row)
            elif len(fresh) < most:
                if fits_a_line(sample):
                    fresh.append(row)
                else:
                    self.left_out += 1
        self.total, self.done = len(queue.rows), sum(each != "skip" for each in last.values())
        self._waiting = deque([*fresh, *skipped[: max(0, most - len(fresh))]])
        past = [(places[each.id], each) for each in mine[-REMEMBERED:] if each.id in places]
        self._past: list[tuple[int, Decision]] = past
        rows = list(dict.fromkeys([*self._waiting, *(row for row, _ in past)]))
        self._samples = samples_of(manifest, rows, ["id", "split"])
        self._thumbnails = Thumbnails(manifest, rows, side=SIDE, most=MOST_BYTES, root=root)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thumbnails.__exit__(kind, error, trace)

    def state(self) -> Mapping[str, Any]:
        """What the page shows, as JSON."""
        with self._lock:
            return self._state()

    def decide(self, row: int, decision: str, given: int | None) -> Mapping[str, Any]:
        """Write a decision about the present label; returns the state after it.

        Args:
            row: of the label.
            decision: `accept`, `change` or `skip`.
            given: the class id of a change.

        Raises:
            Outdated: the row is not the present one.
            UserError: a decision or class that there is none, or the file cannot be written.
        """
        with self._lock:
            if not self._waiting or row != self._waiting[0]:
                raise Outdated("That label is not the one to be decided now. The page shows the one that is.")
            classes = self.queue.opinions.task.classes
            before = int(self.queue.opinions.values[self.queue.name][row])
            if decision == "change" and (given is None or not 0 <= given < len(classes)):
                raise UserError(f"The class is {given}; 0 to {len(classes) - 1} was expected.")
            if decision not in ("accept", "change", "skip"):
                raise UserError("The decision was none; accept, change or skip was expected.")
            if decision == "change" and given == before:
                decision = "accept"
            right = {"accept": classes[before], "change": classes[given or 0], "skip": ""}[decision]
            made = made_now(self._samples[row]["id"], self.queue.name, classes[before], decision, right)
            self.file.append(made)
            self._waiting.popleft()
            self._past.append((row, made))
            self.done += decision != "skip"
            return self._state()

    def undo(self) -> Mapping[str, Any]:
        """Take back the last decision, by a further line; its label is the present one again.

        Raises:
            UserError: there is none, or the file cannot be written.
        """
        with self._lock:
            if not self._past:
                raise UserError("There is no decision that could be undone.")
            row, last = self._past[-1]
            self.file.append(made_now(last.id, last.set, last.before, "undo", ""))
            self._past.pop()
            if row in self._waiting:  # skipped in an earlier session, and waiting once more
                self._waiting.remove(row)
            self._waiting.appendleft(row)
            self.done -= last.decision != "skip"
            return self._state()

    def picture(self, row: int) -> Thumbnail | None:
        """A row's JPEG, or why there is none; None for a row that is not part of this session."""
        return self._thumbnails.of(row) if row in self._samples else None

    def _state(self) -> Mapping[str, Any]:
        item = self._item(self._waiting[0]) if self._waiting else None
        return {
            "item": item,
            "done": self.done,
            "total": self.total,
            "left": len(self._waiting),
            "undo": bool(self._past),
        }

    def _item(self, row: int) -> Mapping[str, Any]:
        quality, sample = self.queue.quality, self._samples[row]
        judged = quality is not None and not np.isnan(quality.score[row])
        said: Sequence[tuple[str, int | None]] = opinions_of(self.queue.opinions, row)
        return {
            "row": row,
            "id": sample["id"],
            "split": sample["split"],
            "label": int(self.queue.opinions.values[self.queue.name][row]),
            "suggested": int(quality.suggested[row]) if quality is not None and judged else None,
            "score": round(float(quality.score[row]), 4) if quality is not None and judged else None,
            "opinions": [list(each) for each in said],
        }
