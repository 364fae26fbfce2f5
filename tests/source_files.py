"""Small datasets in the layouts of the sources; pictures are empty files, as no source looks into one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from noisyfer.manifest import Header, write_manifest
from noisyfer.relabel.rows import table
from noisyfer.relabel.sources import SOURCES, Sample, Source, SourceOptions

AFFECTNET_COLUMNS = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def open_source(name: str, root: Path, **options: Any) -> Source:
    """A checked source."""
    source = SOURCES[name](root, SourceOptions(**options))
    source.check()
    return source


def by_id(source: Source) -> dict[str, Sample]:
    """Its samples; ids must be unique, and a manifest must take every row."""
    samples = list(source.samples())
    assert samples == list(source.samples())
    assert source.rows() == len(samples)
    assert source.rows("train") == sum(sample.split == "train" for sample in samples)
    found = {sample.id: sample for sample in samples}
    assert len(found) == len(samples)
    return found


def as_manifest(source: Source, folder: Path) -> Any:
    """All samples as rows of a manifest, which is checked; without teachers, faces or pictures."""
    from noisyfer.relabel.pipeline import Outcome

    header = Header(source.dataset("x", folder / "m.parquet"), source.tasks(), source.label_sets())
    outcomes = [Outcome(sample, sample.status, sample.detail) for sample in source.samples()]
    rows, _ = table(header, (), outcomes)
    manifest = write_manifest(folder / "m.parquet", header, [rows])
    manifest.validate()
    return manifest


def touch(root: Path, *paths: str) -> None:
    """Empty files."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")


def write(root: Path, path: str, text: str | bytes) -> Path:
    """A file with this content."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root / path


def write_raf(
    base: Path, lines: Iterable[str], eyes: Mapping[str, str] | None = None, images: str = "original"
) -> None:
    """RAF-DB below `basic`: the list, an image a line, landmark files for some."""
    lines = list(lines)
    write(base, "EmoLabel/list_patition_label.txt", "".join(f"{line}\n" for line in lines))
    touch(base, f"Image/{images}/train_00001.jpg")
    for stem, text in (eyes or {}).items():
        write(base, f"Annotation/manual/{stem}_manu_attri.txt", text)


def landmarks(left: tuple[float, float], right: tuple[float, float]) -> list[float]:
    """68 points whose eyes have these means: each eye's six points lie around it."""
    points = np.arange(136, dtype=float).reshape(68, 2)
    ring = np.array([(-3, 0), (-1, -1), (1, -1), (3, 0), (1, 1), (-1, 1)], float)
    points[36:42], points[42:48] = ring + left, ring + right
    return points.ravel().tolist()


def affectnet_row(path: str = "1/a.jpg", expression: Any = 0, valence: Any = 0.5, arousal: Any = -0.25) -> str:
    """A line of AffectNet's csv with a box and landmarks."""
    points = ";".join(f"{value:g}" for value in landmarks((40, 50), (80, 52)))
    return f"{path},10,20,100,110,{points},{expression},{valence},{arousal}"


def write_affectnet(
    root: Path, train: Sequence[str], val: Sequence[str] = (), *, images: str = "Manually_Annotated_Images"
) -> None:
    """AffectNet's csv files and its folder of images."""
    (root / images).mkdir(parents=True, exist_ok=True)
    for name, rows in (("training.csv", train), ("validation.csv", val)):
        if rows:
            write(root, name, "\n".join([AFFECTNET_COLUMNS, *rows]) + "\n")
