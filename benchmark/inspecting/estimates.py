"""How much of a label set is wrong and how: as confident learning, EM and agreement see it, beside the truth."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from ...core.errors import UserError, first_line
from ...training.metrics import confusion_counts
from ..noise import measured_rate
from .beliefs import Belief, consensus
from .opinions import Opinions

Array = np.ndarray[Any, Any]

NO_CLEANLAB = (
    "Confident learning is left out, since cleanlab is not installed: pip install 'noisyfer[audit]' (or cleanlab)."
)


@dataclass(frozen=True)
class Estimate:
    """What one way of looking says of a label set's noise.

    Attributes:
        rate: share of wrong labels, in [0, 1].
        transition: K×K, P(label = column | true class = row); NaN in the row of a class that it sees nowhere. None
            where this way gives no matrix.
        wrong: labels that are named as wrong; None where this way names none.
        samples: that it looked at.
    """

    rate: float
    transition: Array | None = None
    wrong: int | None = None
    samples: int = 0

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        matrix = None if self.transition is None else self.transition.round(6).tolist()
        return {"rate": self.rate, "transition": matrix, "wrong": self.wrong, "samples": self.samples}


def has_cleanlab() -> bool:
    """Whether confident learning is at hand."""
    return find_spec("cleanlab") is not None


def true_noise(opinions: Opinions, name: str) -> Estimate | None:
    """A set's noise as counted against the true set; None where there is none, or no common sample."""
    if opinions.truth is None or opinions.truth == name:
        return None
    clean, noisy = opinions.common(opinions.truth, name)
    if not len(clean):
        return None
    counts = confusion_counts(clean, noisy, len(opinions.task.classes))
    return Estimate(measured_rate(clean, noisy), shares(counts), int((clean != noisy).sum()), len(clean))


def confident_learning(opinions: Opinions, name: str, belief: Belief, notes: list[str]) -> Estimate | None:
    """Confident learning's estimate of a set's noise (Northcutt et al., JAIR 70, 2021), by cleanlab.

    Args:
        opinions: of the task.
        name: the set.
        belief: class probabilities that do not come from it.
        notes: gets a sentence where it cannot be estimated.

    Returns:
        None without cleanlab, or where it cannot be estimated.
    """
    if not has_cleanlab():
        return None
    rows = opinions.sample[(opinions.present[name] & belief.known)[opinions.sample]]
    labels, probs = opinions.values[name][rows].astype(np.int64), belief.probs[rows].astype(np.float64)
    if len(np.unique(labels)) < 2:
        notes.append(f"Confident learning says nothing of {name}: fewer than two classes are labelled and predicted.")
        return None
    from cleanlab.count import compute_confident_joint, estimate_latent
    from cleanlab.filter import find_label_issues

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # on classes without labels, which stand as dashes in what follows
            joint = compute_confident_joint(labels, probs)
            noise = estimate_latent(joint, labels)[1]
            wrong = find_label_issues(labels, probs, confident_joint=joint, n_jobs=1)
    except (ValueError, ZeroDivisionError, AssertionError, IndexError) as error:
        notes.append(f"Confident learning says nothing of {name}: {first_line(error)}.")
        return None
    counts = np.asarray(joint, np.float64)
    transition = np.asarray(noise, np.float64).T  # cleanlab's columns are the true classes
    transition[~(counts.sum(axis=0) > 0)] = np.nan
    rate = 1 - float(np.trace(counts) / counts.sum())
    return Estimate(rate, transition, int(np.asarray(wrong).sum()), len(rows))


def annotators_em(opinions: Opinions) -> Mapping[str, Estimate]:
    """Dawid and Skene's estimate of each annotator's noise, from all of them; nothing for fewer than three.

    Two annotators do not determine the model.
    """
    names = opinions.annotators
    if len(names) < 3:
        return {}
    model = consensus(opinions, names)
    found = {}
    for name, matrix, rate in zip(names, model.confusion.numpy(), model.noise_rates.tolist(), strict=True):
        seen = matrix.sum(axis=1, keepdims=True) > 0
        samples = int(opinions.present[name][opinions.sample].sum())
        if samples:
            found[name] = Estimate(rate, np.where(seen, matrix, np.nan), None, samples)
    return found


def agreement_rates(opinions: Opinions) -> Mapping[str, Estimate]:
    """Rates that explain how often annotators agree, if their noise is symmetric and independent; see
    `models.noise_rate.rates_from_agreement`. Nothing for fewer than three annotators: two leave their rates open.
    """
    import torch

    from ...models.noise_rate import rates_from_agreement

    names = opinions.annotators
    if len(names) < 3:
        return {}
    labels = [torch.from_numpy(opinions.values[name][opinions.sample]) for name in names]
    masks = [torch.from_numpy(opinions.present[name][opinions.sample]) for name in names]
    try:
        rates = rates_from_agreement(labels, masks, len(opinions.task.classes)).tolist()
    except UserError:  # no two of them label a common sample
        return {}
    pairs = zip(names, rates, masks, strict=True)
    return {name: Estimate(rate, samples=int(mask.sum())) for name, rate, mask in pairs if mask.any()}


def shares(counts: Array) -> Array:
    """Counts K×K as shares of their rows; NaN in a row without counts."""
    totals = counts.sum(axis=1, keepdims=True).astype(np.float64)
    return np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
