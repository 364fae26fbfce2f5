"""Noise that looks at the images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from .base import NOISE_MODELS, CleanLabels, Images, Integers, Matrix, NoiseModel, draw

_SPREAD = 0.1  # of the flip rates, in the paper
_BLOCK_VALUES = 1 << 22  # pixel values at a time: 32 MB as float64


@NOISE_MODELS.register("instance")
class Instance(NoiseModel):
    """Mistakes that depend on the image: some images are harder than others, and each resembles certain classes.

    The instance-dependent noise that Xia et al., Part-dependent Label Noise: Towards Instance-dependent Label Noise,
    NeurIPS 2020, generate for their experiments (`get_instance_noisy_label` in their code,
    github.com/xiaoboxia/Part-dependent-label-noise). For sample i with image x_i (d numbers) and clean class y:

    - q_i ~ N(rate, 0.1²) truncated to [0, 1];  W_y ~ N(0, 1), a d×K matrix for every class y;
    - p = softmax(x_i · W_y) over the classes other than y;  P(noisy = j) = q_i · p_j, P(noisy = y) = 1 - q_i.

    They feed raw pixel values, whose common mean image lets one or two wrong classes take nearly all flips of a class
    (98 % of the cats' on CIFAR-10). Here x_i is centred on the mean image of all samples and divided by the standard
    deviation of all centred values, so that the favourite wrong class differs from image to image. As in theirs,
    x_i · W_y has a spread of about √d, so that one image hardly ever has more than one or two.

    The expected rate is the mean of q: close to `rate` from 0.2 up, above it below (0.1 gives 0.13), as the truncation
    cuts off negative q. Only a rate of exactly 0 is taken literally: no flips.
    """

    name, stem = "instance", "inst"
    formula = (
        "sample i of class y flips with probability q_i ~ N(rate, 0.1²) truncated to [0, 1], to a class drawn from "
        "softmax(x_i·W_y) over the other classes, x_i the image centred on the mean image and scaled to unit variance, "
        "W_y ~ N(0, 1); the measured rate is near the rate (Xia et al., NeurIPS 2020)"
    )

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> Integers:
        if clean.images is None:
            raise UserError(
                "The noise model 'instance' looks at the images, but only labels were given. Give the images too, or "
                "choose a model of the labels alone, such as 'uniform'."
            )
        if rate == 0:
            return clean.labels
        count, classes = len(clean.labels), len(clean.classes)
        mean, deviation = _pixel_statistics(clean.images, count)
        flip_rate = _truncated_normal(rate, _SPREAD, count, rng)
        draws = rng.random(count)
        weights = rng.standard_normal((classes, len(mean), classes), dtype=np.float32)
        noisy = np.empty(count, np.int64)
        start = 0
        for block in _image_blocks(clean.images, count):
            part = slice(start, start + len(block))
            # float64: where products round differently (another BLAS, other threads), next to no draw changes
            features = block - mean
            features /= deviation
            noisy[part] = draw(_chances(features, clean.labels[part], flip_rate[part], weights), draws[part])
            start += len(block)
        return noisy


def _chances(
    features: Matrix, labels: Integers, flip_rate: NDArray[np.float64], weights: NDArray[np.float32]
) -> Matrix:
    """P(noisy = j) of each sample (n×K), from features n×d, labels n, flip rates n and weights K×d×K."""
    scores = np.empty((len(features), len(weights)))
    for label in np.unique(labels):
        members = labels == label
        scores[members] = features[members] @ weights[label].astype(np.float64)
    own = np.arange(len(labels)), labels
    scores[own] = -np.inf
    chances: Matrix = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances *= (flip_rate / chances.sum(axis=1))[:, None]
    chances[own] = 1 - flip_rate
    return chances


def _image_blocks(images: Images, expected: int) -> Iterator[NDArray[np.uint8]]:
    """The images as rows of d values, in blocks whose size depends on d only: whatever chunks come, same products."""
    seen, rest = 0, np.empty((0, 0), np.uint8)
    for chunk in images():
        if chunk.dtype != np.uint8 or chunk.ndim != 4:
            raise ValueError(f"images must be n×H×W×3 of uint8, not {chunk.dtype} {chunk.shape}")
        values = chunk.reshape(len(chunk), int(np.prod(chunk.shape[1:])))
        seen += len(values)
        rest = np.concatenate([rest, values]) if len(rest) else values
        size = max(1, _BLOCK_VALUES // values.shape[1])
        whole = len(rest) - len(rest) % size
        for start in range(0, whole, size):
            yield rest[start : start + size]
        rest = rest[whole:].copy()  # the reader may use its buffer again
    if seen != expected:
        raise ValueError(f"there are {expected} labels, but {seen} images")
    if len(rest):
        yield rest


def _pixel_statistics(images: Images, count: int) -> tuple[NDArray[np.float64], float]:
    """The mean image (d) and the standard deviation of all values around it; exact sums, so chunks do not matter."""
    total = np.zeros(0)
    squares = 0.0
    for block in _image_blocks(images, count):
        values = block.astype(np.float64)
        total = values.sum(axis=0) + (total if len(total) else 0)
        squares += float(np.vdot(values, values))
    mean = total / count
    variance = squares / (count * len(mean)) - float(np.mean(mean**2))
    return mean, float(np.sqrt(variance)) if variance > 0 else 1.0


def _truncated_normal(mean: float, spread: float, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`count` draws of N(mean, spread²) restricted to [0, 1], by drawing again what falls outside."""
    drawn = rng.normal(mean, spread, count)
    while len(outside := np.flatnonzero((drawn < 0) | (drawn > 1))):
        drawn[outside] = rng.normal(mean, spread, len(outside))
    return drawn
