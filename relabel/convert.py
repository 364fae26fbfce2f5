"""A manifest with its images as a dataset in other people's formats, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UserError, look_up
from ..core.files import whole_folder
from ..core.schema import STATUS_OK
from ..manifest import Manifest
from .convert_formats import coco, hub, imagefolder, webdataset
from .convert_pictures import Pictures
from .exporting import export_labels

CSV = "csv"

FORMATS: dict[str, Callable[[Path, Pictures], None]] = {
    "imagefolder": imagefolder,
    "hf": hub,
    "webdataset": webdataset,
    "coco": coco,
}
"""The formats that take the images along, each with what fills its folder; `csv` has labels only."""


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote.

    Attributes:
        path: the file or folder.
        rows: samples in it.
        left_out: samples whose status is not ok, which have no picture to take along.
    """

    path: Path
    rows: int
    left_out: int


def convert(
    manifest: Manifest | str | Path,
    to: str,
    out: str | Path,
    *,
    labels: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    root: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Write a manifest in another format.

    Args:
        manifest: the manifest, or its path.
        to: `csv`, or one of `FORMATS`.
        out: a csv, or a new folder.
        labels: the label sets; None for all.
        splits: only samples of these splits; None for all.
        root: where the images are, if they have moved.
        progress: called with samples done and samples in all.

    Raises:
        UserError: an unknown format, label set or split, something that stands under `out`, an image that cannot be
            read, or a place that cannot be written.
    """
    path = Path(out)
    fill = None if to == CSV else look_up("format to convert to", to, {CSV: imagefolder, **FORMATS})
    opened = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
    if path.exists():
        raise UserError(
            f"{path} is there already, and nothing is written over. Give another --out, or remove it first."
        )
    if fill is None:
        return Converted(path, export_labels(opened, path, labels=labels, splits=splits), 0)
    view = opened.select(splits=splits, label_sets=labels)
    for name in view.header.label_sets:
        view.labels(name)  # raises where a label is out of range
    pictures = Pictures(view, Path(root) if root is not None else view.root, progress)
    if not pictures.usable:
        raise UserError(
            f"{opened.path} has no sample with the status '{STATUS_OK}' among those chosen: nothing to write."
        )
    with whole_folder(path) as folder:
        fill(folder, pictures)
    return Converted(path, pictures.usable, pictures.rows - pictures.usable)
