"""What every noise model is: clean labels, a rate and a generator in, noisy labels out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.registry import Registry

Labels = NDArray[np.int16]
Integers = NDArray[np.integer[Any]]
Matrix = NDArray[np.float64]
Images = Callable[[], Iterator[NDArray[np.uint8]]]


@dataclass(frozen=True)
class CleanLabels:
    """What a noise model looks at.

    Attributes:
        labels: N class ids, 0 to K-1.
        classes: the K class names, in the order of the ids.
        images: gives a fresh iterator over the N images, in the order of `labels`, as chunks n×H×W×3 of uint8. Called
            once a pass; only `instance` reads images.

    Raises:
        UserError: no labels, fewer than two classes, or labels out of range.
    """

    labels: Integers
    classes: tuple[str, ...]
    images: Images | None = None

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or not np.issubdtype(self.labels.dtype, np.integer):
            raise ValueError(f"labels must be a vector of integers, not {self.labels.dtype} {self.labels.shape}")
        if not len(self.labels):
            raise UserError("There are no clean labels to add noise to. Choose a split or dataset that has samples.")
        if not 2 <= len(self.classes) <= np.iinfo(np.int16).max:
            raise UserError(f"Label noise needs 2 to 32767 classes, but the data has {len(self.classes)}.")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            found = low if low < 0 else high
            last = len(self.classes) - 1
            raise UserError(f"A clean label is {found}, expected 0 to {last}. Check the labels or the class names.")


class NoiseModel(ABC):
    """One way to get labels wrong.

    Attributes:
        name: the public name ("uniform", "matrix:raf-affectnet").
        stem: what its annotators are called, before the rate ("flip").
        formula: the definition and its source in words, for the provenance.
        needs_rate: whether `flip` refuses a rate of None.
    """

    name: str
    stem: str
    formula: str
    needs_rate: bool = True

    def flip(self, clean: CleanLabels, rate: float | None, rng: np.random.Generator) -> Labels:
        """Return N noisy class ids; the same generator state gives the same ids.

        Args:
            clean: the labels to start from; they are left as they are.
            rate: the share of samples the model is to act on, in [0, 1); see `formula` for what it means to each.
            rng: the only source of randomness.

        Raises:
            UserError: the rate, the classes or the images are not what this model needs.
        """
        if rate is not None and not 0 <= rate < 1:
            raise UserError(f"The noise rate is {rate:g}, expected 0 or more and below 1. Write 0.2 for 20 %.")
        if rate is None and self.needs_rate:
            raise UserError(f"The noise model '{self.name}' was given no rate. Give one in [0, 1), such as 0.2.")
        return self._flip(clean, rate, rng).astype(np.int16)

    @abstractmethod
    def _flip(self, clean: CleanLabels, rate: Any, rng: np.random.Generator) -> Integers:
        """`flip` with a valid rate, which is None only where `needs_rate` is false."""


NOISE_MODELS: Registry[type[NoiseModel]] = Registry("noise model")


def choose(samples: NDArray[np.int64], rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Exactly round(rate·n) of the n `samples`, without replacement, every subset of that size alike."""
    return rng.choice(samples, round(float(rate) * len(samples)), replace=False, shuffle=False)


def draw(chances: Matrix, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """One class id a row of `chances` (n×K): its distribution inverted at `uniform` (n numbers in [0, 1))."""
    cumulative = np.cumsum(chances, axis=1)
    cumulative /= cumulative[:, -1:]  # ends at exactly 1, so that no draw falls off the end
    picked: NDArray[np.int64] = (uniform[:, None] >= cumulative).sum(axis=1, dtype=np.int64)
    return picked


def listing(names: Sequence[str]) -> str:
    """Names for a message, shortened where there are many."""
    shown = ", ".join(names[:12])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 12 else shown
