"""Writing drawn samples in the layouts of RAF-DB and AffectNet, to the byte."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .geometry import Array
from .state import CLASSES, EMOTIONS
from .worlds import AFFECTNET, RAF, Drawn, World, affectnet_name, draw_sample

RAF_IDS = {"surprise": 1, "fear": 2, "disgust": 3, "happy": 4, "sad": 5, "anger": 6, "neutral": 7}
RAF_ALIGNED = 100
AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)
NO_VALUE = -2
"""AffectNet's valence and arousal of an image that has none."""

TRUTH_HEADER = ",".join(
    ("id", "split", "annotated", "expression", "valence", "arousal", "intensity", "openness", *EMOTIONS)
)

_ALIGNED_EYES = np.array([(30.0, 38.0), (70.0, 38.0)])
_AGES = (0.04, 0.22, 0.45, 0.8)
"""Upper ends of RAF-DB's first four age groups on the drawn people's scale: 0–3, 4–19, 20–39, 40–69, over 70 years."""


@dataclass(frozen=True)
class Row:
    """What is left of a sample when its images are written.

    Attributes:
        line: its line in the dataset's list.
        truth: its line in the truth file.
        expression: the true class id; None for no face.
        annotated: the annotator's class id, 8 to 10 for none.
    """

    line: str
    truth: str
    expression: int | None
    annotated: int


class Layout(ABC):
    """How a world's samples lie on disk.

    Attributes:
        world: whose samples.
        held_out: its second split.
        lists: the list that each split's lines belong in, relative to the root.
    """

    world: World
    held_out: str
    lists: Mapping[str, str]

    def splits(self) -> tuple[str, str]:
        """The names of its two splits."""
        return "train", self.held_out

    @abstractmethod
    def folders(self, seed: int, split: str, indices: Sequence[int]) -> set[str]:
        """Folders below the root that these samples need."""

    @abstractmethod
    def write(self, root: Path, seed: int, split: str, index: int) -> Row:
        """Draw a sample and write its files, but not the lists."""

    def write_lists(self, root: Path, rows: Mapping[str, Sequence[Row]]) -> None:
        """Write the lists of all splits."""
        for name in dict.fromkeys(self.lists.values()):
            lines = [row.line for split in self.splits() if self.lists[split] == name for row in rows[split]]
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(self.head() + "".join(f"{line}\n" for line in lines), encoding="ascii")

    def head(self) -> str:
        """What a list begins with."""
        return ""


class RafLayout(Layout):
    """`basic/` as the authors of RAF-DB publish it."""

    world = RAF
    held_out = "test"
    lists: Mapping[str, str] = dict.fromkeys(("train", "test"), "basic/EmoLabel/list_patition_label.txt")

    def folders(self, seed: int, split: str, indices: Sequence[int]) -> set[str]:
        """The same for all samples."""
        return {"basic/Image/original", "basic/Image/aligned", "basic/Annotation/manual"}

    def write(self, root: Path, seed: int, split: str, index: int) -> Row:
        """Two images and one annotation."""
        drawn = draw_sample(self.world, seed, split, index)
        name = f"{split}_{index + 1:0{5 if split == 'train' else 4}d}"
        basic = root / "basic"
        drawn.image.save(basic / "Image" / "original" / f"{name}.jpg", quality=drawn.quality)
        aligned = align(drawn.image, drawn.eyes)
        aligned.save(basic / "Image" / "aligned" / f"{name}_aligned.jpg", quality=95)
        text = raf_attributes(drawn)
        (basic / "Annotation" / "manual" / f"{name}_manu_attri.txt").write_text(text, encoding="ascii")
        label = RAF_IDS[CLASSES[drawn.expression]]
        return _row(drawn, f"{name}.jpg {label}", name, split)


class AffectNetLayout(Layout):
    """The csv files and `Manually_Annotated_Images/` of AffectNet's first release."""

    world = AFFECTNET
    held_out = "val"
    lists: Mapping[str, str] = {"train": "training.csv", "val": "validation.csv"}

    def head(self) -> str:
        """The columns."""
        return f"{AFFECTNET_HEADER}\n"

    def folders(self, seed: int, split: str, indices: Sequence[int]) -> set[str]:
        """The numbered folders that these samples fall into."""
        names = (affectnet_name(seed, split, index) for index in indices)
        return {f"Manually_Annotated_Images/{name.partition('/')[0]}" for name in names}

    def write(self, root: Path, seed: int, split: str, index: int) -> Row:
        """One image."""
        drawn = draw_sample(self.world, seed, split, index)
        name = affectnet_name(seed, split, index)
        drawn.image.save(root / "Manually_Annotated_Images" / name, quality=drawn.quality)
        values = drawn.valence_arousal
        valence, arousal = (NO_VALUE, NO_VALUE) if values is None else (f"{value:.6f}" for value in values)
        points = ";".join(f"{value:.2f}" for value in drawn.landmarks.ravel())
        box = ",".join(map(str, face_box(drawn.landmarks, drawn.image.size)))
        return _row(drawn, f"{name},{box},{points},{drawn.expression},{valence},{arousal}", name, split)


LAYOUTS: Mapping[str, Layout] = {"raf": RafLayout(), "affectnet": AffectNetLayout()}


def raf_attributes(drawn: Drawn) -> str:
    """RAF-DB's manual annotation: eyes, nose tip and mouth corners, a line each; gender, race, age group."""
    points = np.vstack([drawn.eyes, drawn.landmarks[[30, 48, 54]]])
    lines = [f"{x:.3f}\t{y:.3f}" for x, y in points]
    age = sum(drawn.looks.age > bound for bound in _AGES)
    brightness = sum(drawn.looks.skin) / 3
    race = 1 if brightness < 120 else 2 if drawn.looks.narrow else 0
    return "\n".join([*lines, str(int(drawn.looks.woman)), str(race), str(age)]) + "\n"


def align(image: Image.Image, eyes: Array) -> Image.Image:
    """RAF-DB's 100×100 face: turned and scaled so that the eyes' centres come to fixed places."""
    (left, right), (from_left, from_right) = eyes, _ALIGNED_EYES
    before, after = right - left, from_right - from_left
    scale = math.hypot(*before) / math.hypot(*after)
    angle = math.atan2(before[1], before[0])
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    offset = left - np.array([[cos, -sin], [sin, cos]]) @ from_left
    matrix = (cos, -sin, float(offset[0]), sin, cos, float(offset[1]))
    size = (RAF_ALIGNED, RAF_ALIGNED)
    return image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def face_box(points: Array, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A detector's square around landmarks N×2, within a picture: left, top, width, height."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre, side = (low + high) / 2 - (0, 0.06 * (high[1] - low[1])), 1.15 * float((high - low).max())
    left, top = (int(max(0, round(value))) for value in centre - side / 2)
    return left, top, int(min(round(side), size[0] - left)), int(min(round(side), size[1] - top))


def _row(drawn: Drawn, line: str, name: str, split: str) -> Row:
    state = drawn.state
    annotated = CLASSES[drawn.expression] if drawn.expression < len(CLASSES) else ""
    if state is None:
        return Row(line, ",".join([name, split, annotated, *[""] * 12]), None, drawn.expression)
    numbers = [*state.valence_arousal, state.intensity, state.openness, *state.levels.tolist()]
    truth = [name, split, annotated, CLASSES[state.expression], *(f"{number:.6f}" for number in numbers)]
    return Row(line, ",".join(truth), state.expression, drawn.expression)
