"""CIFAR-10, in every layout that make-cifar reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

from ...core.schema import LabelSet, Task
from ...images.batches import SOURCE
from ...images.cifar import Cifar10, open_cifar10
from ...images.dataset import SPLITS
from .base import SOURCES, Sample, Source


@SOURCES.register("cifar10")
class Cifar10Source(Source):
    """CIFAR-10's 50,000 train and 10,000 test images of 32×32, taken whole, with ids like make-cifar's."""

    layout: ClassVar[str] = (
        "cifar-10-batches-py/ or cifar-10-python.tar.gz    the Python version\n"
        "plain_text/train-*.parquet, test-*.parquet         the hub's\n"
        "cifar-10-batches-bin/ or cifar-10-binary.tar.gz    the binary version"
    )
    obtain: ClassVar[str] = f"CIFAR-10 can be downloaded from {SOURCE}."
    uses: ClassVar[frozenset[str]] = frozenset()

    def check(self) -> None:
        """See whether one of the layouts is there; an archive is unpacked to memory."""
        self.root = self._opened.root

    def tasks(self) -> dict[str, Task]:
        """The ten classes."""
        return {"class": Task("class", "categorical", self._opened.classes)}

    def label_sets(self) -> dict[str, LabelSet]:
        """`class_clean`."""
        made = LabelSet.categorical("class", "clean", "human", {"source": "CIFAR-10"})
        return {made.name: made}

    def samples(self) -> Iterator[Sample]:
        """The train images, then the test images."""
        for split in SPLITS:
            labels = self._opened.labels(split)
            digits = max(5, len(str(len(labels) - 1)))
            for row, (label, reference) in enumerate(zip(labels.tolist(), self._opened.references(split), strict=True)):
                yield Sample(f"{split}_{row:0{digits}d}", split, reference, {"class_clean": label}, whole=True)

    def fingerprint(self) -> str:
        """Over labels and references."""
        digest = hashlib.sha256()
        for split in SPLITS:
            digest.update(self._opened.labels(split).astype("<i2").tobytes())
            digest.update("\n".join(self._opened.references(split)).encode())
        return digest.hexdigest()

    @cached_property
    def _opened(self) -> Cifar10:
        return open_cifar10(self.root)
