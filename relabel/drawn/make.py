"""make-faces: draw both datasets, in parallel, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ... import __version__
from ...core.config import check, option
from ...core.errors import UserError
from ...core.files import locked, read_json, whole_file, whole_folder
from .artists import Artists, remove_left_folders
from .geometry import Array
from .layouts import LAYOUTS, TRUTH_HEADER, Layout, Row
from .state import CLASSES
from .worlds import NO_FACE

MARKER = "drawn.json"
"""Lies in the root of a drawn dataset: what it is and how it was made."""

_NOTICE = "Faces drawn by noisyfer make-faces: for trying the tool, not for science."


@dataclass(frozen=True)
class FacesOptions:
    """What to draw."""

    n: int = option(2000, "training images of each dataset", low=1, high=39_999)
    seed: int = option(0, "seed of all random streams", low=0)
    workers: int = option(0, "processes that draw; 0 for one a core", low=0, high=256)

    def counts(self, layout: Layout) -> dict[str, int]:
        """Images of each split: the held-out one has a quarter."""
        return {"train": self.n, layout.held_out: held_out(self.n)}


@dataclass(frozen=True)
class Made:
    """A drawn dataset.

    Attributes:
        name: of its source.
        root: its folder.
        truth: the file with the truth.
        counts: by split, 9×11: row the true class, the last one for no face; column the annotator's answer.
    """

    name: str
    root: Path
    truth: Path
    counts: Mapping[str, Array]


def held_out(n: int) -> int:
    """Test or validation images for n training images: a quarter, at least one."""
    return max(1, n // 4)


def make_faces(out: Path, options: FacesOptions, progress: Callable[[str, int, int], None] | None = None) -> list[Made]:
    """Write `raf` and `affectnet` below a folder, and `raf-truth.csv` and `affectnet-truth.csv` beside them.

    Each dataset appears whole or not at all. One that this function made before is replaced.

    Args:
        out: the folder of datasets.
        options: how many, and the seed.
        progress: is told the dataset, images done, and images in all.

    Raises:
        UserError: an option out of range, a folder in the way that was not made here, one that cannot be written, or
            one that another process writes to.
    """
    check(options)
    for name in LAYOUTS:
        _check_free(out / name)
    with locked(out):
        for name in LAYOUTS:
            remove_left_folders(out, name)
        return [_make(out, layout, options, progress or (lambda *_: None)) for layout in LAYOUTS.values()]


def _make(out: Path, layout: Layout, options: FacesOptions, progress: Callable[[str, int, int], None]) -> Made:
    name = layout.world.name
    counts = options.counts(layout)
    root, truth = out / name, out / f"{name}-truth.csv"
    rows: dict[str, list[Row]] = {split: [] for split in counts}
    # the artists are gone before the folder is tidied up, whatever happens
    with whole_folder(root) as folder, Artists(options.workers) as artists:
        for split, count in counts.items():
            for below in layout.folders(options.seed, split, range(count)):
                (folder / below).mkdir(parents=True, exist_ok=True)
            for chunk in artists.draw(name, folder, options.seed, split, count):
                rows[split] += chunk
                progress(name, sum(map(len, rows.values())), sum(counts.values()))
        layout.write_lists(folder, rows)
        marker = {"notice": _NOTICE, "version": __version__, "n": options.n, "seed": options.seed}
        (folder / MARKER).write_text(json.dumps(marker | {"files": _files(folder)}, indent=2) + "\n", encoding="utf-8")
        with whole_file(truth) as temporary:
            lines = [TRUTH_HEADER, *(row.truth for found in rows.values() for row in found)]
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Made(name, root, truth, {split: _confusion(found) for split, found in rows.items()})


def _check_free(root: Path) -> None:
    """A folder may be replaced where all of its files were drawn."""
    if not root.exists():
        return
    if not root.is_dir() or not (root / MARKER).is_file():
        raise UserError(
            f"{root} is there already and was not made by make-faces: it may be the real dataset. Nothing was drawn. "
            "Choose another --out, or move it away."
        )
    stored = read_json(root / MARKER)
    expected = stored.get("files") if isinstance(stored, dict) else None
    found = _files(root) - 1
    if found != expected:
        raise UserError(
            f"{root} was made by make-faces with {expected} files and now has {found}. Nothing was drawn, so that "
            "nothing of yours is lost. Choose another --out, or remove the folder."
        )


def _confusion(rows: Sequence[Row]) -> Array:
    counts = np.zeros((len(CLASSES) + 1, NO_FACE + 1), dtype=int)
    for row in rows:
        counts[len(CLASSES) if row.expression is None else row.expression, row.annotated] += 1
    return counts


def _files(root: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(root))
