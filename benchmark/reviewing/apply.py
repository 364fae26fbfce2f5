"""Decisions become a label set: the corrected labels of the set that was reviewed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...core.errors import UserError
from ...core.files import sha256_file
from ...core.schema import LabelSet
from ...manifest import Manifest
from .decisions import Decision, read_decisions, standing


@dataclass(frozen=True)
class Applied:
    """What became of decisions.

    Attributes:
        manifest: the new one.
        name: the new label set.
        counts: labels that were accepted, changed, skipped, and not reviewed.
        notes: sentences on decisions that do not fit.
    """

    manifest: Manifest
    name: str
    counts: Mapping[str, int]
    notes: tuple[str, ...]


def apply_decisions(
    manifest: Manifest,
    decisions: Path,
    out: Path,
    *,
    name: str | None = None,
    annotator: str = "reviewed",
    only_decided: bool = False,
) -> Applied:
    """Write the manifest with one more label set, `<task>_<annotator>`.

    A label that was accepted or changed is the class of its last decision; any other is the reviewed set's own. The
    set's kind is `human` where all its labels are a human's: the reviewed set's were, or only decided ones are kept;
    else it is `aggregate`, made from a set and decisions.

    Args:
        manifest: opened.
        decisions: the csv.
        out: the new manifest.
        name: the set that was reviewed; None for the only one in the csv.
        annotator: of the new set.
        only_decided: leave labels out that were not accepted or changed.

    Raises:
        UserError: no decision fits the manifest, the csv has several sets and none is named, a class is unknown, or
            the set is there already.
    """
    found, torn = read_decisions(decisions)
    notes = [f"The last line of {decisions} was not finished by its writer and does not count."] if torn else []
    name = _only_set(decisions, found, name)
    parent = manifest.label_set(name)
    task = manifest.header.tasks[parent.task]
    if task.kind != "categorical":
        raise UserError(f"'{name}' is of the task {task.name}, which has no classes; those can be reviewed.")
    last = {each.id: each for each in standing(found) if each.set == name}
    labels = manifest.labels(name)
    values, present = labels.values.copy(), np.zeros_like(labels.present) if only_decided else labels.present.copy()
    rows = _rows(manifest, decisions, list(last), notes)
    counts: Counter[str] = Counter()
    moved = 0
    for row, each in zip(rows, last.values(), strict=True):
        if row is None:
            continue
        counts[each.decision] += 1
        if each.decision != "skip":
            now = task.classes[labels.values[row]] if labels.present[row] else ""
            moved += now != each.before
            values[row], present[row] = _class(decisions, task.classes, each), True
    if moved:
        notes.append(f"{moved:,} decisions were made when {name} had other labels; they count all the same.")
    told = {"accepted": counts["accept"], "changed": counts["change"], "skipped": counts["skip"]}
    told["unreviewed"] = int(labels.present.sum()) - sum(told.values())
    kind = "human" if only_decided or parent.kind == "human" else "aggregate"
    provenance = {
        "method": "review",
        "parents": [name],
        "decisions": told,
        "only_decided": only_decided,
        "file": {"name": decisions.name, "sha256": sha256_file(decisions)},
    }
    made = LabelSet.categorical(task.name, annotator, kind, provenance)
    written = manifest.with_label_set(made, {"label": pa.array(values.astype(np.int16), mask=~present)}, out)
    return Applied(written, made.name, told, tuple(notes))


def _only_set(path: Path, found: Sequence[Decision], name: str | None) -> str:
    sets = list(dict.fromkeys(each.set for each in found))
    if not sets:
        raise UserError(f"{path} has no decision yet. 'noisyfer review MANIFEST --decisions {path}' makes some.")
    if name is None and len(sets) > 1:
        raise UserError(f"{path} has decisions about {', '.join(sets)}. Say which set to correct by --set.")
    if name is not None and name not in sets:
        raise UserError(f"{path} has no decision about '{name}', but about {', '.join(sets)}.")
    return name or sets[0]


def _rows(manifest: Manifest, path: Path, ids: Sequence[str], notes: list[str]) -> list[int | None]:
    """The row of each id, None where the manifest has it not."""
    found: list[int | None] = pc.index_in(pa.array(ids, pa.string()), manifest.read(["id"])["id"]).to_pylist()
    missing = sum(row is None for row in found)
    if missing == len(found):
        raise UserError(f"No standing decision in {path} is about a sample of {manifest.path}.")
    if missing:
        notes.append(f"{missing:,} of {len(ids):,} decisions are about samples that {manifest.path} does not have.")
    return found


def _class(path: Path, classes: Sequence[str], decision: Decision) -> int:
    if decision.given not in classes:
        raise UserError(
            f"{path} decides on the class '{decision.given}' for '{decision.id}'; there are {', '.join(classes)}."
        )
    return classes.index(decision.given)
