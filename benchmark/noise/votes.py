"""Clean against noisy labels in figures, and the majority of several label sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Integers, Labels, Matrix


def measured_rate(clean: Integers, noisy: Integers) -> float:
    """The share of the N samples whose noisy label differs from the clean one."""
    if len(clean) != len(noisy) or not len(clean):
        raise ValueError(f"expected two label vectors of one length above 0, got {len(clean)} and {len(noisy)}")
    return int(np.count_nonzero(clean != noisy)) / len(clean)


def transition_matrix(clean: Integers, noisy: Integers, classes: int) -> Matrix:
    """The K×K shares P(noisy = j | clean = i) as counted; a class without samples gets the identity's row."""
    for labels in (clean, noisy):
        _check_range(labels, classes)
    pairs = clean.astype(np.int64) * classes + noisy
    counts = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    return np.where(totals > 0, counts / np.maximum(totals, 1), np.eye(classes))


def majority_vote(
    votes: Integers, mask: NDArray[np.bool_] | None, classes: int, rng: np.random.Generator
) -> tuple[Labels, NDArray[np.bool_]]:
    """The most frequent label of each sample; a tie falls on each of the tied classes with equal chance.

    Every sample uses one random number, tied or not, and only the counts of the votes matter: neither the order of the
    label sets nor the votes on other samples change a result.

    Args:
        votes: M×N class ids, one row a label set; anything where `mask` is false.
        mask: M×N, true where there is a vote; None where all vote.
        classes: K.
        rng: breaks the ties.

    Returns:
        N class ids, and N flags: whether the sample has any vote. Ids without votes are 0 and mean nothing.
    """
    sets, samples = votes.shape
    valid = np.ones((sets, samples), bool) if mask is None else mask
    given = votes[valid].astype(np.int64)
    _check_range(given, classes)
    rows = np.broadcast_to(np.arange(samples), (sets, samples))[valid]
    counts = np.bincount(rows * classes + given, minlength=samples * classes).reshape(samples, classes)
    modal = counts == counts.max(axis=1, keepdims=True)
    pick = (rng.random(samples) * modal.sum(axis=1)).astype(np.int64)
    winner = (np.cumsum(modal, axis=1) == pick[:, None] + 1).argmax(axis=1)
    voted: NDArray[np.bool_] = counts.sum(axis=1) > 0
    return np.where(voted, winner, 0).astype(np.int16), voted


def _check_range(labels: Integers, classes: int) -> None:
    # an id out of range would silently be counted as a vote on the neighbouring sample
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"class ids run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
