"""Label sets of a manifest as csv, for spreadsheets, other programs and the hub's image folders."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import UserError, unknown_name
from ..core.files import whole_file
from ..core.formulas import GUARDED, guard
from ..core.schema import LabelSet, Task
from ..manifest import Manifest

FORMATS = ("csv", "imagefolder")
METADATA_NAME = "metadata.csv"
"""The only name under which the hub's image folders look for labels."""

_PACKED = re.compile(r".+#[0-9]{1,15}", re.DOTALL)


def export_labels(
    manifest: Manifest | str | Path,
    out: str | Path,
    *,
    labels: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    format: str = "csv",
    overwrite: bool = False,
) -> int:
    """Write label sets as a csv in UTF-8 with a header, one row a sample; rows stream, a missing label is empty.

    The columns are `id`, `split` and `image` (for the hub `file_name`), then for each set its class names under the
    name of the set, or valence and arousal under the names of their columns in the manifest.

    Args:
        manifest: the manifest, or its path.
        out: the csv; for the hub a file named `metadata.csv`, or the folder to put it into: the dataset's root.
        labels: the label sets, in their order; None for all.
        splits: only samples of these splits; None for all.
        format: `csv`, or `imagefolder` for the Hugging Face hub.
        overwrite: replace a file that is there.

    Returns:
        The number of rows.

    Raises:
        UserError: a set or a split does not exist, the file exists or cannot be written, or images are in packed files
            that the hub's image folders do not know.
    """
    if format not in FORMATS:
        raise unknown_name("format of exported labels", format, FORMATS)
    opened = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
    view = opened.select(splits=splits, label_sets=labels)
    path = export_path(out, format)
    if path.exists() and not overwrite:
        raise UserError(f"{path} is there already. Give another name with --out, or replace it with --overwrite.")
    keys = ("file_name", "split") if format == "imagefolder" else ("id", "split", "image")
    columns = named_columns(view)
    count = 0
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*keys, *columns])
        for batch in _batches(view, keys, columns):
            writer.writerows(zip(*batch, strict=True))
            count += len(batch[0])
    return count


def export_path(out: str | Path, format: str) -> Path:
    """The file that `export_labels` writes.

    Raises:
        UserError: the hub would not find it.
    """
    out = Path(out)
    if format == "csv":
        return out
    if out.is_dir():
        return out / METADATA_NAME
    if out.name != METADATA_NAME:
        raise UserError(
            f"The hub's image folders read labels from '{METADATA_NAME}' only, and --out is {out}. Give a file of that "
            "name, or the dataset's folder."
        )
    return out


def named_columns(view: Manifest) -> dict[str, tuple[str, Task]]:
    """By the name that each label's column has outside, the manifest's column and its task.

    Raises:
        UserError: two would have the same name.
    """
    found: dict[str, tuple[str, Task]] = {}
    for label_set in view.header.label_sets.values():
        task = view.header.tasks[label_set.task]
        for name, column in _names(label_set, task).items():
            if name in found or name in ("id", "split", "image", "file_name"):
                raise UserError(f"Two columns of labels would be called '{name}'. Export label sets one at a time.")
            found[name] = (column, task)
    return found


def _names(label_set: LabelSet, task: Task) -> Mapping[str, str]:
    if task.kind == "categorical":
        return {label_set.name: label_set.columns["label"]}
    return {label_set.columns[role]: label_set.columns[role] for role in ("valence", "arousal")}


def _batches(view: Manifest, keys: Sequence[str], columns: Mapping[str, tuple[str, Task]]) -> Iterator[list[list[str]]]:
    """The columns of the csv as texts, some rows at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = {
        task.name: pa.array([guard(name) for name in task.classes]) for _, task in columns.values() if task.classes
    }
    read = [*("image" if key == "file_name" else key for key in keys), *dict.fromkeys(c for c, _ in columns.values())]
    for batch in view.batches(read):
        rows: list[list[str]] = []
        for key in keys:
            texts = batch.column("image" if key == "file_name" else key).cast(pa.string()).to_pylist()
            rows.append([_file_name(text) for text in texts] if key == "file_name" else [guard(text) for text in texts])
        for column, task in columns.values():
            values = batch.column(column)
            shown: Any = (
                names[task.name].take(_checked(values, column, task))
                if task.kind == "categorical"
                else values.cast(pa.string())
            )
            rows.append(pc.fill_null(shown, "").to_pylist())
        yield rows


def _checked(values: Any, column: str, task: Task) -> Any:
    """Class ids that are all in range."""
    import pyarrow.compute as pc

    limits = pc.min_max(values).as_py()
    if limits["min"] is not None and not 0 <= limits["min"] <= limits["max"] < len(task.classes):
        raise UserError(
            f"Column '{column}' has class ids from {limits['min']} to {limits['max']}, and {len(task.classes)} classes."
        )
    return values


def _file_name(image: str) -> str:
    """A path that image folders understand.

    Raises:
        UserError: it is a row of a packed file.
    """
    if _PACKED.fullmatch(image):
        raise UserError(
            f"The image {image!r} is a row of a packed file, and the hub's image folders have one file an image. "
            "Export with --format csv."
        )
    return f"./{image}" if image.startswith(GUARDED) else image
