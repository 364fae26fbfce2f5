"""How far annotators agree beyond chance: Cohen's κ of two, Fleiss' κ of several."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def cohen_kappa(counts: Array) -> float | None:
    """Cohen's κ of two annotators: 1 for full agreement, 0 for that of chance (Cohen 1960).

    κ = (p_o − p_e) / (1 − p_e), with p_o the share of equal labels and p_e = Σ_j p_j·q_j their share by chance, of the
    classes' shares p of one annotator and q of the other.

    Args:
        counts: K×K, samples by the first one's class and the second one's.

    Returns:
        None where it is not defined: no sample, or both gave one and the same class to all.
    """
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    if np.count_nonzero(rows + columns) < 2:
        return None
    total = int(counts.sum())
    # both shares of unequal labels times total²: whole numbers, so that full agreement is 1 exactly
    unequal, by_chance = total * (total - int(np.trace(counts))), total**2 - int(rows @ columns)
    return 1 - unequal / by_chance


def fleiss_kappa(counts: Array) -> float | None:
    """Fleiss' κ of several annotators: (P̄ − P̄ₑ) / (1 − P̄ₑ) (Fleiss, Psychological Bulletin 76, 1971).

    P_i = (Σ_j n_ij² − n) / (n (n − 1)) is a sample's share of agreeing pairs, P̄ its mean, P̄ₑ = Σ_j p_j² with p_j a
    class's share of all labels.

    Args:
        counts: N×K, how many annotators gave a sample a class; each row sums to the same n of at least 2.

    Returns:
        None where it is not defined: no sample, or one class only.

    Raises:
        ValueError: samples have different numbers of labels, or fewer than 2.
    """
    if not len(counts):
        return None
    raters = counts.sum(axis=1)
    if (raters != raters[0]).any() or raters[0] < 2:
        raise ValueError("Fleiss' κ needs the same number of labels, at least 2, on every sample")
    each = ((counts.astype(np.float64) ** 2).sum(axis=1) - raters[0]) / (raters[0] * (raters[0] - 1))
    expected = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    if expected >= 1:
        return None
    return (float(each.mean()) - expected) / (1 - expected)
