"""Noise models: clean labels in, the labels of a mistaken annotator out.

Every model is a pure function of the clean labels, a rate and a random generator. Rates lie in [0, 1).
"""

from __future__ import annotations

import csv
import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError, unknown_name
from ..core.registry import Registry

MATRICES = Path(__file__).parent / "matrices"
_MATRIX = "matrix:"
_ROW_TOLERANCE = 1e-3
_BLOCK = 1024  # images at a time, for `instance`

Labels = NDArray[np.int16]
Matrix = NDArray[np.float64]


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

    labels: NDArray[np.integer[Any]]
    classes: tuple[str, ...]
    images: Callable[[], Iterator[NDArray[np.uint8]]] | None = None

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
    def _flip(self, clean: CleanLabels, rate: Any, rng: np.random.Generator) -> NDArray[np.integer[Any]]:
        """`flip` with a valid rate, which is None only where `needs_rate` is false."""


NOISE_MODELS: Registry[type[NoiseModel]] = Registry("noise model")


@NOISE_MODELS.register("uniform")
class Uniform(NoiseModel):
    """Exactly round(rate·n) samples, chosen without replacement, get one of the other K-1 classes, each alike.

    "Randomly flipping 20%, 30%, and 40%" of Zhang et al., Facial Emotion Recognition with Noisy Multi-task
    Annotations, WACV 2021, section 5.1. The measured rate is the rate.
    """

    name, stem = "uniform", "flip"
    formula = (
        "exactly round(rate·n) of n samples, chosen without replacement, get a class drawn uniformly from the other "
        "K-1 classes (Zhang et al., WACV 2021)"
    )

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
        noisy, classes = clean.labels.astype(np.int64), len(clean.classes)
        chosen = _choose(np.arange(len(noisy)), rate, rng)
        noisy[chosen] = (noisy[chosen] + rng.integers(1, classes, len(chosen))) % classes
        return noisy


@NOISE_MODELS.register("uniform-all")
class UniformAll(NoiseModel):
    """Exactly round(rate·n) samples, chosen without replacement, get any of the K classes, each alike.

    The published loader of Zhang et al. (github.com/sanweiliti/noisyFER). One draw in K hits the class that was there,
    so that about rate·(K-1)/K is measured: 18 % for a rate of 0.2 and ten classes.
    """

    name, stem = "uniform-all", "flipall"
    formula = (
        "exactly round(rate·n) of n samples, chosen without replacement, get a class drawn uniformly from all K "
        "classes, the old one included, so that about rate·(K-1)/K differ (the published loader of Zhang et al., "
        "WACV 2021)"
    )

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
        noisy = clean.labels.astype(np.int64)
        chosen = _choose(np.arange(len(noisy)), rate, rng)
        noisy[chosen] = rng.integers(0, len(clean.classes), len(chosen))
        return noisy


@NOISE_MODELS.register("pairflip")
class PairFlip(NoiseModel):
    """Exactly round(rate·n) samples, chosen without replacement, move from class i to class (i + 1) mod K.

    The pair flipping of Han et al., Co-teaching, NeurIPS 2018, who flip each sample with probability rate; here the
    number of flips is exact.
    """

    name, stem = "pairflip", "pair"
    formula = (
        "exactly round(rate·n) of n samples, chosen without replacement, move from class i to class (i + 1) mod K "
        "(pair flipping, Han et al., NeurIPS 2018)"
    )

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
        noisy = clean.labels.astype(np.int64)
        chosen = _choose(np.arange(len(noisy)), rate, rng)
        noisy[chosen] = (noisy[chosen] + 1) % len(clean.classes)
        return noisy


@NOISE_MODELS.register("asymmetric")
class Asymmetric(NoiseModel):
    """CIFAR-10's look-alikes: truck→automobile, bird→airplane, deer→horse, cat→dog, dog→cat.

    Exactly round(rate·n_c) of each of these five classes c flip, and no other class does, so that half the rate is
    measured on CIFAR-10. The map of Patrini et al., Making Deep Neural Networks Robust to Label Noise, CVPR 2017, who
    flip each sample with probability rate.
    """

    name, stem = "asymmetric", "asym"
    formula = (
        "exactly round(rate·n_c) samples of each class c flip truck→automobile, bird→airplane, deer→horse, cat→dog, "
        "dog→cat, other classes stay (Patrini et al., CVPR 2017)"
    )
    pairs = (("truck", "automobile"), ("bird", "airplane"), ("deer", "horse"), ("cat", "dog"), ("dog", "cat"))
    aliases = {"plane": "airplane", "car": "automobile"}  # noqa: RUF012

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
        spelled = [name.strip().casefold() for name in clean.classes]
        ids = {self.aliases.get(name, name): index for index, name in enumerate(spelled)}
        missing = sorted({name for pair in self.pairs for name in pair} - ids.keys())
        if missing:
            raise UserError(
                f"The noise model 'asymmetric' is made for CIFAR-10's classes, but the data has no "
                f"{', '.join(missing)} (its classes: {_listing(clean.classes)}). Use 'pairflip' or 'matrix:FILE' here."
            )
        noisy = clean.labels.astype(np.int64)
        for source, target in self.pairs:
            noisy[_choose(np.flatnonzero(clean.labels == ids[source]), rate, rng)] = ids[target]
        return noisy


@NOISE_MODELS.register("instance")
class Instance(NoiseModel):
    """Mistakes that depend on the image: some images are harder than others, and each resembles certain classes.

    The instance-dependent noise that Xia et al., Part-dependent Label Noise: Towards Instance-dependent Label Noise,
    NeurIPS 2020, generate for their experiments (`get_instance_noisy_label` in their code,
    github.com/xiaoboxia/Part-dependent-label-noise). For sample i with image x_i (d numbers) and clean class y:

    - q_i ~ N(rate, 0.1²) truncated to [0, 1];  W_y ~ N(0, 1), a d×K matrix for every class y;
    - p = softmax(x_i · W_y) over the classes other than y;  P(noisy = j) = q_i · p_j, P(noisy = y) = 1 - q_i.

    They feed raw pixel values, whose common mean image gives most images of a class the same p. Here x_i is centred on
    the mean image of all samples and divided by the standard deviation of all centred values, so that p differs from
    image to image. As in theirs, x_i · W_y has a spread of about √d: each image has one or two favourite wrong classes.

    The expected rate is the mean of q: close to `rate` from 0.2 up, above it below (0.1 gives 0.13), as the truncation
    cuts off negative q. Only a rate of exactly 0 is taken literally: no flips.
    """

    name, stem = "instance", "inst"
    formula = (
        "sample i of class y flips with probability q_i ~ N(rate, 0.1²) truncated to [0, 1], to a class drawn from "
        "softmax(x_i·W_y) over the other classes, x_i the image centred on the mean image and scaled to unit variance, "
        "W_y ~ N(0, 1); the measured rate is near the rate (Xia et al., NeurIPS 2020)"
    )

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> NDArray[np.integer[Any]]:
        if clean.images is None:
            raise UserError(
                "The noise model 'instance' looks at the images, but only labels were given. Give the images too, or "
                "choose a model of the labels alone, such as 'uniform'."
            )
        if rate == 0:
            return clean.labels
        count, classes = len(clean.labels), len(clean.classes)
        mean, deviation = _pixel_statistics(clean)
        flip_rate = _truncated_normal(rate, 0.1, count, rng)
        draws = rng.random(count)
        weights = rng.standard_normal((classes, len(mean), classes), dtype=np.float32)
        noisy = np.empty(count, np.int64)
        start = 0
        for block in _image_blocks(clean):
            part = slice(start, start + len(block))
            labels, q = clean.labels[part], flip_rate[part, None]
            # float64: products that round differently (another BLAS, other threads) then cannot change a draw
            features = (block - mean) / deviation
            scores = np.empty((len(block), classes))
            for label in np.unique(labels):
                members = labels == label
                scores[members] = features[members] @ weights[label].astype(np.float64)
            own = np.arange(len(block)), labels
            scores[own] = -np.inf
            chances = np.exp(scores - scores.max(axis=1, keepdims=True))
            chances *= q / chances.sum(axis=1, keepdims=True)
            chances[own] = 1 - q[:, 0]
            noisy[part] = _draw(chances, draws[part])
            start += len(block)
        return noisy


class MatrixNoise(NoiseModel):
    """Noise by a row-stochastic K×K matrix T: a sample of class i gets class j with probability T_ij.

    With a rate, all off-diagonal entries are multiplied by one factor (and the diagonal fills up) such that the
    expected share of flips on the given labels is the rate; without, the matrix is taken as it is.
    """

    needs_rate = False

    def __init__(self, name: str, matrix: Matrix, classes: tuple[str, ...] | None, source: str) -> None:
        """Keep a checked matrix.

        Args:
            name: what stands after "matrix:" in the public name.
            matrix: K×K, rows sum to 1.
            classes: the K class names of its rows and columns; None takes the data's order of classes.
            source: where it comes from, for the provenance.
        """
        self.name = _MATRIX + name
        self.stem = re.sub(r"[^a-z0-9]+", "-", Path(name).stem.casefold()).strip("-") or "matrix"
        self.formula = (
            f"a sample of class i gets class j with probability T_ij of {self.name}; with a rate, the off-diagonal "
            f"entries are scaled by one factor to that expected rate ({source})"
        )
        self.matrix = matrix
        self.classes = classes

    def _flip(self, clean: CleanLabels, rate: float | None, rng: np.random.Generator) -> NDArray[np.int64]:
        matrix = self.transition(clean, rate)
        return _draw(matrix[clean.labels], rng.random(len(clean.labels)))

    def transition(self, clean: CleanLabels, rate: float | None) -> Matrix:
        """The K×K matrix in the data's class order, scaled to `rate`; rows of absent classes only as far as 1 allows.

        Raises:
            UserError: the classes differ, or no factor reaches the rate.
        """
        matrix = self._in_order_of(clean.classes)
        if rate is None:
            return matrix
        mistakes = matrix.copy()
        np.fill_diagonal(mistakes, 0)
        mass = mistakes.sum(axis=1)
        shares = np.bincount(clean.labels, minlength=len(mass)) / len(clean.labels)
        expected = float(shares @ mass)
        if expected == 0:
            if rate == 0:
                return matrix
            raise UserError(
                f"{self.name} never errs on these labels (its off-diagonal entries are 0), so it cannot be scaled to a "
                f"rate of {rate:g}. Give a matrix with errors, or leave the rate out."
            )
        factor = rate / expected
        worst = int(np.argmax(np.where(shares > 0, mass, -1)))
        if factor * mass[worst] > 1 + 1e-9:
            raise UserError(
                f"{self.name} cannot be scaled to a rate of {rate:g}: class '{clean.classes[worst]}' would be wrong "
                f"with probability {factor * mass[worst]:.3f}, more than 1. The highest rate it reaches on these labels "
                f"is {math.floor(1000 * expected / mass[worst]) / 1000:g}."
            )
        scaled = mistakes * np.minimum(factor, 1 / np.maximum(mass, 1e-300))[:, None]
        np.fill_diagonal(scaled, np.maximum(1 - scaled.sum(axis=1), 0))
        return scaled

    def _in_order_of(self, classes: tuple[str, ...]) -> Matrix:
        size = len(self.matrix)
        if size != len(classes):
            named = f" ({_listing(self.classes)})" if self.classes else ""
            raise UserError(
                f"{self.name} is {size}×{size}{named}, but the data has {len(classes)} classes: {_listing(classes)}. "
                f"Give a {len(classes)}×{len(classes)} matrix, or data with the matrix's classes."
            )
        if self.classes is None:
            return self.matrix
        own = [name.casefold() for name in self.classes]
        foreign = [name for name in classes if name.strip().casefold() not in own]
        if foreign:
            raise UserError(
                f"The header of {self.name} names {_listing(self.classes)}, but the data's classes are "
                f"{_listing(classes)}: no row for {_listing(foreign)}. Write the data's class names in the header."
            )
        order = [own.index(name.strip().casefold()) for name in classes]
        return self.matrix[np.ix_(order, order)]
