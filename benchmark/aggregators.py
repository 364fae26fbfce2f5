"""Ways to make one label set of several annotators', each of which registers itself; nothing here knows of files.

`crowd_libraries` has those that other packages do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..core.registry import Registry
from ..core.streams import rng
from .noise import majority_vote

Array = np.ndarray[Any, Any]
Kind = Literal["categorical", "continuous"]

EM_ITERATIONS = 500
BLOCK = 65_536
"""Samples that are looked at at once."""
_TIE = 1e-9


@dataclass(frozen=True)
class Given:
    """What annotators said.

    Attributes:
        values: S×N class ids, or S×N×2 valence and arousal; anything where nothing is present.
        present: S×N, true where there is a label. Every set has one.
        classes: K; 0 for valence and arousal.
        seed: of ties.
        probs: N×K, a model's class probabilities, NaN where it has none; None without a model.
    """

    values: Array
    present: Array
    classes: int = 0
    seed: int = 0
    probs: Array | None = None

    @property
    def labelled(self) -> Array:
        """N, true where any set has a label."""
        return np.asarray(self.present.any(axis=0))


@dataclass(frozen=True)
class Aggregate:
    """One label set of several.

    Attributes:
        values: N class ids, or N×2; anything where nothing is present.
        present: N, true where there is a label.
        probs: N×K, class probabilities; None for valence and arousal.
        reliability: S, or S×2 for valence and arousal, as the aggregator's `measure` says.
        confusion: S×K×K, row the true class, column the label, where the method estimates it.
        details: what else belongs into the provenance, as JSON values.
        notes: sentences the user should see.
    """

    values: Array
    present: Array
    probs: Array | None
    reliability: Array
    confusion: Array | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Aggregator:
    """A way to make one label set of several.

    Attributes:
        name: as users give it.
        kind: of the tasks it is for.
        measure: what its reliabilities are, in a word or two.
        run: the function itself.
        needs_probs: whether it takes a model's class probabilities.
    """

    name: str
    kind: Kind
    measure: str
    run: Callable[[Given], Aggregate]
    needs_probs: bool = False


AGGREGATORS: Registry[Aggregator] = Registry("way to aggregate labels")


def aggregator(
    name: str, kind: Kind, measure: str, *, needs_probs: bool = False
) -> Callable[[Callable[[Given], Aggregate]], Callable[[Given], Aggregate]]:
    """A decorator that registers a function as an aggregator."""

    def store(run: Callable[[Given], Aggregate]) -> Callable[[Given], Aggregate]:
        AGGREGATORS.register(name)(Aggregator(name, kind, measure, run, needs_probs))
        return run

    return store


def most_probable(probs: Array, seed: int) -> Array:
    """N class ids of N×K probabilities; ties fall on each of the tied classes with equal chance."""
    source, found = rng(seed, "ties"), np.empty(len(probs), np.int64)
    for start in range(0, len(probs), BLOCK):
        part = probs[start : start + BLOCK]
        best = part >= part.max(axis=1, keepdims=True) - _TIE
        pick = (source.random(len(part)) * best.sum(axis=1)).astype(np.int64)
        found[start : start + BLOCK] = (np.cumsum(best, axis=1) == pick[:, None] + 1).argmax(axis=1)
    return found


def agreement(given: Given, values: Array, present: Array) -> Array:
    """S, the share of each categorical set's labels that are the result's, where that has one; NaN where none is."""
    both = given.present & present
    right = ((given.values == values) & both).sum(axis=1)
    count = both.sum(axis=1)
    return np.where(count > 0, right / np.maximum(count, 1), np.nan)


@aggregator("majority", "categorical", "agreement")
def majority(given: Given) -> Aggregate:
    """The most frequent label; its probabilities are the shares of votes."""
    samples = given.values.shape[1]
    values, probs = np.zeros(samples, np.int64), np.zeros((samples, given.classes), np.float32)
    source = rng(given.seed, "majority")
    for start in range(0, samples, BLOCK):
        part = slice(start, start + BLOCK)
        votes, valid = given.values[:, part], given.present[:, part]
        values[part], _ = majority_vote(votes, valid, given.classes, source)
        rows = np.broadcast_to(np.arange(votes.shape[1]), votes.shape)[valid]
        counts = np.bincount(rows * given.classes + votes[valid], minlength=votes.shape[1] * given.classes)
        probs[part] = counts.reshape(-1, given.classes) / np.maximum(valid.sum(axis=0), 1)[:, None]
    present = given.labelled
    return Aggregate(values, present, probs, agreement(given, values, present))


@aggregator("dawid-skene", "categorical", "1 − noise rate")
def dawid_skene(given: Given) -> Aggregate:
    """The posterior of Dawid and Skene's model, a confusion matrix an annotator, by EM (`models.aggregation`)."""
    import torch

    from ..models import aggregation

    labels, masks = (
        [torch.from_numpy(np.ascontiguousarray(row)) for row in rows] for rows in (given.values, given.present)
    )
    found = aggregation.dawid_skene(labels, masks, given.classes, EM_ITERATIONS)
    probs = found.posterior.numpy()
    notes = []
    if len(labels) < 3:
        notes.append("Two label sets do not determine Dawid and Skene's model; take its estimates with care.")
    if len(found.likelihoods) == EM_ITERATIONS:
        notes.append(f"EM had not converged after {EM_ITERATIONS} iterations.")
    return Aggregate(
        most_probable(probs, given.seed),
        given.labelled,
        probs.astype(np.float32),
        1 - found.noise_rates.numpy(),
        found.confusion.numpy(),
        {"iterations": len(found.likelihoods), "log_likelihood": found.likelihoods[-1]},
        notes,
    )


@aggregator("mean", "continuous", "correlation")
def mean(given: Given) -> Aggregate:
    """The mean of the annotators that have a label."""
    return _continuous(given, _weighted_mean(given, np.ones((len(given.values), 2))))


@aggregator("median", "continuous", "correlation")
def median(given: Given) -> Aggregate:
    """The median of the annotators that have a label; of an even number, the mean of the middle two."""
    ordered = np.sort(np.where(given.present[:, :, None], given.values, np.inf), axis=0)
    count = np.maximum(given.present.sum(axis=0), 1)
    low, high = (
        np.take_along_axis(ordered, place[None, :, None], axis=0)[0] for place in ((count - 1) // 2, count // 2)
    )
    return _continuous(given, np.where(given.labelled[:, None], low / 2 + high / 2, 0))


@aggregator("weighted", "continuous", "correlation")
def weighted(given: Given) -> Aggregate:
    """The evaluator weighted estimator, for valence and for arousal alone (Grimm & Kroschel, ASRU 2005).

    r_s = corr(x_s, x̄) over the samples that s has labelled, x̄ the mean of all annotators; below 0 it counts as 0
    x_i = Σ_s r_s·x_si / Σ_s r_s over the annotators that have labelled i; their mean where these weights are all 0
    """
    weights = np.maximum(correlations(given, _weighted_mean(given, np.ones((len(given.values), 2)))), 0)
    values = _weighted_mean(given, weights)
    return Aggregate(values, given.labelled, None, weights)


def correlations(given: Given, values: Array) -> Array:
    """S×2, Pearson's correlation of each set with N×2 values over its own samples; 0 where either does not vary."""
    from ..training.metrics import pearson

    return np.array(
        [
            [pearson(labels[valid, column].astype(np.float64), values[valid, column]) for column in range(2)]
            for labels, valid in zip(given.values, given.present, strict=True)
        ]
    )


def _continuous(given: Given, values: Array) -> Aggregate:
    return Aggregate(values, given.labelled, None, correlations(given, values))


def _weighted_mean(given: Given, weights: Array) -> Array:
    """N×2; weights S×2 of at least 0. Where those of a sample's annotators are all 0 it is their mean; else 0."""
    shape = given.values.shape[1:]
    whole, total, plain = (np.zeros(shape) for _ in range(3))
    for labels, valid, weight in zip(given.values, given.present, weights, strict=True):
        known = np.where(valid[:, None], labels, 0.0)
        whole += known * weight
        total += valid[:, None] * weight
        plain += known
    count = np.maximum(given.present.sum(axis=0), 1)[:, None]
    return np.clip(np.where(total > 0, whole / np.where(total > 0, total, 1), plain / count), -1, 1)
