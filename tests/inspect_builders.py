"""Small manifests to inspect: labels as given, and pictures or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from noisyfer.manifest import STATUS_OK, Dataset, Header, LabelSet, Manifest, Task, write_manifest

CLASSES = ("cat", "dog", "frog")


def labelled(
    path: Path,
    sets: Mapping[str, Sequence[int | None]],
    *,
    probs: Mapping[str, Sequence[Any]] | None = None,
    classes: Sequence[str] = CLASSES,
    kinds: Mapping[str, str] | None = None,
    images: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
) -> Manifest:
    """A manifest of one task `class` with a set `class_<annotator>` each; pictures are rows of the packaged digits.

    Args:
        path: where.
        sets: by annotator, labels.
        probs: by annotator, its probabilities.
        classes: names.
        kinds: by annotator, where it is not `human`.
        images: references, in place of the digits.
        ids: of the samples.
    """
    told, kinds = probs or {}, kinds or {}
    found = [LabelSet.categorical("class", name, kinds.get(name, "human"), {}, probs=name in told) for name in sets]
    count = len(next(iter(sets.values())))
    columns: dict[str, Any] = {
        "id": list(ids or (f"s{row}" for row in range(count))),
        "split": ["train"] * count,
        "image": list(images or (f"digits#{row}" for row in range(count))),
        "status": [STATUS_OK] * count,
        "detail": pa.nulls(count, pa.string()),
    }
    for label_set, (name, values) in zip(found, sets.items(), strict=True):
        columns[label_set.columns["label"]] = pa.array(values, pa.int16())
        if name in told:
            columns[label_set.columns["probs"]] = pa.array(told[name], pa.list_(pa.float32()))
    task = Task("class", "categorical", tuple(classes))
    header = Header(Dataset("animals"), {"class": task}, {each.name: each for each in found})
    return write_manifest(path, header, [pa.table(columns)])
