"""Small manifests of faces, and files of labels as other people publish them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from noisyfer.manifest import STATUS_OK, Dataset, Header, LabelSet, Manifest, Task, write_manifest
from noisyfer.relabel.importing import ImportOptions, ImportReport, import_labels
from noisyfer.relabel.sources import EXPRESSIONS

EXPRESSION = Task("expression", "categorical", EXPRESSIONS)
HUMAN = LabelSet.categorical("expression", "human", "human", {})
HEADER = Header(Dataset("raf", "datasets/raf"), {"expression": EXPRESSION}, {HUMAN.name: HUMAN})


def faces(
    path: Path,
    ids: Sequence[str],
    images: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    header: Header = HEADER,
) -> Manifest:
    """A manifest of these samples; the human labels are 0, 1, … in turn."""
    count = len(ids)
    rows = {
        "id": pa.array(ids, pa.string()),
        "split": pa.array(splits or ["train"] * count, pa.string()),
        "image": pa.array(images or [f"basic/Image/original/{name}.jpg" for name in ids], pa.string()),
        "status": pa.array([STATUS_OK] * count, pa.string()),
        "detail": pa.nulls(count, pa.string()),
    }
    for label_set in header.label_sets.values():
        classes = len(header.tasks[label_set.task].classes)
        rows[label_set.columns["label"]] = pa.array(np.arange(count) % classes, pa.int16())
    return write_manifest(path, header, [pa.table(rows)])


def raf(path: Path, train: int = 9, test: int = 3) -> Manifest:
    """A manifest like RAF-DB's."""
    ids = [f"train_{number:05d}" for number in range(1, train + 1)]
    ids += [f"test_{number:04d}" for number in range(1, test + 1)]
    return faces(path, ids, splits=["train"] * train + ["test"] * test)


def imported(manifest: Manifest, *files: Path, out: Path | None = None, **options: Any) -> ImportReport:
    """An import of files, `me` being the annotator unless said."""
    options.setdefault("annotator", "me")
    return import_labels(manifest, files, out or manifest.path.with_name("out.parquet"), ImportOptions(**options))


def names(manifest: Manifest, label_set: str) -> dict[str, str | None]:
    """By id the class name that a label set has."""
    found = manifest.label_set(label_set)
    classes = manifest.header.tasks[found.task].classes
    rows = manifest.read(["id", found.columns["label"]]).to_pydict()
    values = rows[found.columns["label"]]
    return {key: None if value is None else classes[value] for key, value in zip(rows["id"], values, strict=True)}


def column(manifest: Manifest, name: str) -> list[Any]:
    """A column's values."""
    found: list[Any] = manifest.read([name])[name].to_pylist()
    return found


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    """A file of text, its line ends as they are."""
    path.write_bytes(content.encode(encoding))
    return path


def as_json(path: Path, value: Any) -> Path:
    """A file of JSON."""
    return text(path, json.dumps(value))


def annotation(choice: str | Sequence[str], by: Any, at: str = "2024-01-01", **more: Any) -> dict[str, Any]:
    """An annotation as Label Studio exports it."""
    choices = [choice] if isinstance(choice, str) else list(choice)
    result = {"from_name": "mood", "to_name": "img", "type": "choices", "value": {"choices": choices}}
    return {"id": 1, "completed_by": by, "result": [result], "was_cancelled": False, "updated_at": at, **more}


def cifar_labels(count: int, **sets: Any) -> Mapping[str, Any]:
    """What CIFAR-10N's files hold, for images whose classes are 0 to 9 in turn."""
    clean = np.arange(count) % 10
    return {"clean_label": clean, "worse_label": (clean + 1) % 10, "aggre_label": clean.copy(), **sets}
