"""A small dataset with known faces and every kind of failure, and teachers whose answers can be worked out by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from noisyfer.core.schema import LabelSet, Task
from noisyfer.relabel.sources import EXPRESSIONS, Sample, Source, SourceOptions
from PIL import Image
from torch import Tensor

FAILURES = {
    "missing": ("missing", "pictures/nowhere.jpg"),
    "empty": ("unreadable", "pictures/empty.jpg"),
    "truncated": ("unreadable", "pictures/truncated.jpg"),
    "text": ("unreadable", "pictures/text.jpg"),
    "bad_row": ("bad_row", "pictures/0.png"),
}
"""By id: the status that is due, and the image."""


def write_pictures(root: Path, count: int, size: int = 48) -> None:
    """Pictures `pictures/0.png` … whose colour says their number, and the broken ones of `FAILURES`."""
    folder = root / "pictures"
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(picture(number, size)).save(folder / f"{number}.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture at all")
    Image.fromarray(picture(3, 64)).save(folder / "whole.jpg")
    (folder / "truncated.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:300])
    (folder / "whole.jpg").unlink()


def picture(number: int, size: int) -> np.ndarray[Any, Any]:
    """One colour with some noise."""
    noise = np.random.default_rng(number).integers(0, 20, (size, size, 3))
    colour = np.array([37 * number % 200, 91 * number % 200, 53 * number % 200])
    return np.clip(noise + colour, 0, 255).astype(np.uint8)


class World(Source):
    """`count` pictures with eyes and labels in turn, and the failures in between."""

    layout: ClassVar[str] = "pictures/"
    obtain: ClassVar[str] = "write_pictures makes it."

    def __init__(
        self, root: Path, options: SourceOptions | None = None, *, count: int = 20, failures: bool = True
    ) -> None:
        super().__init__(root, options)
        self.count = count
        self.failures = failures

    def check(self) -> None:
        pass

    def tasks(self) -> dict[str, Task]:
        return {"expression": Task("expression", "categorical", EXPRESSIONS), "va": Task("va", "continuous")}

    def label_sets(self) -> dict[str, LabelSet]:
        sets = [
            LabelSet.categorical("expression", "human", "human", {"source": "world"}),
            LabelSet.valence_arousal("human", "human", {"source": "world"}),
        ]
        return {found.name: found for found in sets}

    def samples(self) -> Iterator[Sample]:
        every = max(1, self.count // len(FAILURES))
        waiting = list(FAILURES.items()) if self.failures else []
        for number in range(self.count):
            values = {"expression_human": number % 7, "valence_human": number / self.count, "arousal_human": -0.5}
            split = "test" if number % 5 == 4 else "train"
            yield Sample(f"id{number}", split, f"pictures/{number}.png", values, eyes=(14.0, 16.0, 33.0, 17.5))
            if number % every == every - 1 and waiting:
                name, (status, image) = waiting.pop(0)
                bad = {"status": "bad_row", "detail": "its label is 99"} if status == "bad_row" else {}
                yield Sample(name, "train", image, {"expression_human": 1}, eyes=(14.0, 16.0, 33.0, 17.5), **bad)

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.count} {self.failures}".encode()).hexdigest()


@dataclass(frozen=True)
class ByColour:
    """A teacher that answers by the mean colour, the same for the same pixels in any batch."""

    annotator: str = "colour"
    size: int = 32
    align: bool = True
    sha256: str = "c0"
    architecture: str = "mean colour"
    figures: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = EXPRESSIONS
    with_va: bool = True
    spoils: int = -1

    @property
    def tasks(self) -> dict[str, Task]:
        found = {"expression": Task("expression", "categorical", self.classes)}
        return {**found, "va": Task("va", "continuous")} if self.with_va else found

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        means = images.double().mean(dim=(2, 3)).float() / 255  # B×3
        weights = torch.linspace(-9, 9, 3 * len(self.classes)).reshape(3, len(self.classes)).sin()
        probabilities = torch.softmax(20 * means @ weights, dim=1)
        if self.spoils >= 0:
            probabilities[(images[:, 0].double().mean(dim=(1, 2)) > self.spoils)] = float("nan")
        return {"expression": probabilities, **({"va": 3 * means[:, :2] - 1} if self.with_va else {})}
