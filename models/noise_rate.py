"""The share of wrong labels, estimated without clean ones: from how often label sets agree, or from losses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import UserError

LEAST_COMMON = 50
"""Samples with two labels or more that are needed before agreement tells a rate: to seven points, where it is 0.5."""

LEAST_OF_A_LABEL = 20
"""Samples with a label that are needed before two Gaussians are fitted to their losses."""

LEARNED = 0.95
"""The mean loss, as a share of the labels' entropy, below which it tells a rate: our choice."""

EQUAL_RATES = 1e-3
"""Weight of the assumption of equal rates against a pair that labels all samples: decides only what data leave open."""


def agreement_tells(masks: Sequence[Tensor]) -> bool:
    """Whether enough samples have two labels or more for their agreement to tell how noisy the sets are.

    Args:
        masks: bool N of each set, true where there is a label.
    """
    return int((torch.stack(list(masks)).sum(dim=0) > 1).sum()) >= LEAST_COMMON


def rates_from_agreement(labels: Sequence[Tensor], masks: Sequence[Tensor], classes: int) -> Tensor:
    """Each set's share of wrong labels, from the pairwise agreement of sets that err independently.

    Under symmetric noise (a wrong label is any other class alike), sets i and j agree on a share
    a_ij = (1 − r_i)(1 − r_j) + r_i·r_j/(K − 1) of the samples that both label. With u = 1 − r·K/(K − 1) this is
    u_i·u_j = (K·a_ij − 1)/(K − 1), solved by least squares over all pairs, each weighed by its number of samples, for
    u in [0, 1]. Three sets that share samples have one solution. What the pairs leave open (two sets, or a set
    without a common sample) is decided by assuming equal rates. Agreement not above chance gives r = (K − 1)/K.

    Args:
        labels: class ids N of at least two sets.
        masks: bool N of each, true where there is a label.
        classes: K, at least 2.

    Returns:
        r of each set, float64 on the CPU, in [0, (K − 1)/K].

    Raises:
        UserError: no two sets label the same sample.
    """
    from scipy.optimize import least_squares

    pairs = list(combinations(range(len(labels)), 2))
    # pair by pair: the masks of all pairs of many sets would fill the memory
    met = [_met(labels, masks, *pair) for pair in pairs]
    counts, agreed = np.array(met, dtype=float).reshape(-1, 2).T
    if not counts.any():
        raise UserError(
            "The noise rate cannot be estimated from agreement: no two label sets label the same sample. "
            "Choose sets that overlap, or give the rate."
        )
    products = (classes * agreed / np.maximum(counts, 1) - 1) / (classes - 1)
    weights = np.sqrt(counts / counts.max())
    start = np.sqrt(np.clip(np.average(products, weights=counts), 0.01, 1))
    firsts, seconds = np.array(pairs).T

    def residuals(factors: np.ndarray) -> np.ndarray:
        missed = weights * (factors[firsts] * factors[seconds] - products)
        return np.concatenate([missed, EQUAL_RATES * (factors - factors.mean())])

    found = least_squares(residuals, np.full(len(labels), start), bounds=(0, 1), xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return torch.from_numpy((1 - found.x) * (classes - 1) / classes)


def _met(labels: Sequence[Tensor], masks: Sequence[Tensor], first: int, second: int) -> tuple[int, int]:
    """How many samples two sets both label, and how many of these alike."""
    both = masks[first] & masks[second]
    return int(both.sum()), int((both & (labels[first] == labels[second])).sum())


def rate_from_losses(losses: Tensor, labels: Tensor, anyway: bool = False) -> float | None:
    """The share of wrong labels, as the weight of the higher of two Gaussians fitted to per-sample losses.

    Made for losses of an early epoch, when a network has not yet learned wrong labels by heart (Arazo et al., ICML
    2019; Li et al., ICLR 2020, with Gaussians). Each label's losses are fitted by themselves, since an early network's
    losses say first of all how frequent and how easy a class is; the share is the mean over labels by their samples.
    Labels of fewer than `LEAST_OF_A_LABEL` samples are left out, and where all are so rare their losses are fitted
    together. Losses are scaled to [0, 1] first; equal ones have a share of 0.

    Args:
        losses: cross entropies N.
        labels: class ids N, with which the losses are.
        anyway: tell what the losses say whether or not something has been learned.

    Returns:
        None while the network has learned nothing that could tell: while the mean loss is not below `LEARNED` times
        the labels' entropy, which is the loss of an answer that knows how frequent each label is and no more. Of very
        noisy labels (more than 0.73 of ten classes wrong, 0.37 of two) even who knows the truth has no such loss. None
        also of no losses, and of losses that are not all finite.
    """
    if not len(losses) or not losses.isfinite().all():
        return None
    ids, counts = labels.unique(return_counts=True)
    shares = counts.double() / counts.sum()
    if not anyway and not losses.double().mean() < -LEARNED * (shares * shares.log()).sum():
        return None
    frequent = [losses[labels == each] for each in ids[counts >= LEAST_OF_A_LABEL]] or [losses]
    return sum(len(found) * _higher_share(found) for found in frequent) / sum(map(len, frequent))


def _higher_share(losses: Tensor) -> float:
    """The weight of the higher of two Gaussians; 0 where all losses are equal."""
    if losses.min() == losses.max():
        return 0.0
    mixture, _ = loss_mixture(losses, tolerance=1e-4, iterations=200)
    return float(mixture.weights_[mixture.means_[:, 0].argmax()])


def loss_mixture(losses: Tensor, *, tolerance: float, iterations: int) -> tuple[Any, np.ndarray[Any, Any]]:
    """Two Gaussians fitted to per-sample losses that are scaled to [0, 1] first.

    Args:
        losses: N, not all equal.
        tolerance: EM has converged when its bound grows by less.
        iterations: of EM, at most.

    Returns:
        The scikit-learn mixture, and the scaled losses N×1 that it was fitted to.
    """
    from sklearn.mixture import GaussianMixture

    values = losses.detach().double().cpu().numpy().reshape(-1, 1)
    scaled = (values - values.min()) / np.ptp(values)
    mixture = GaussianMixture(2, tol=tolerance, max_iter=iterations, reg_covar=5e-4, random_state=0)
    return mixture.fit(scaled), scaled
