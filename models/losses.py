"""The losses of the paper and of its baselines, over label sets with missing labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .precision import at_least_fp32


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask of the same shape is true; 0 where it is nowhere true. Half floats are summed
    as float32."""
    values = at_least_fp32(values)
    weights = mask.to(values.dtype)
    return (values * weights).sum() / weights.sum().clamp(min=1)


def cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy averaged over the samples that have a label.

    Args:
        logits: B×K.
        labels: B, class ids 0 to K − 1 (any valid id where the mask is false).
        mask: B, true where there is a label.
    """
    return masked_mean(functional.cross_entropy(logits, labels, reduction="none"), mask)


def mean_over_sets(losses: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Mean of the sets' losses, leaving out sets without any label in this batch."""
    present = torch.stack([mask.any() for mask in masks]).to(losses[0].dtype)
    return (torch.stack(list(losses)) * present).sum() / present.sum().clamp(min=1)


def concordance(predicted: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Lin's concordance correlation coefficient over the labelled samples, in [-1, 1], with biased variances.

    CCC = 2·cov(p, y) / (var(p) + var(y) + (mean(p) − mean(y))²), each moment divided by n (Lin 1989). With fewer than
    two labelled samples, or no variance at all on both sides, it is 0; a denominator below 1e-8 counts as 1e-8, which
    keeps the gradient bounded where both sides are nearly constant.

    Args:
        predicted: B.
        labels: B.
        mask: B, true where there is a label.
    """
    predicted, labels = at_least_fp32(predicted), at_least_fp32(labels)
    mean_p, mean_y = masked_mean(predicted, mask), masked_mean(labels, mask)
    centred_p, centred_y = predicted - mean_p, labels - mean_y
    covariance = masked_mean(centred_p * centred_y, mask)
    spread = masked_mean(centred_p.square(), mask) + masked_mean(centred_y.square(), mask)
    return 2 * covariance / (spread + (mean_p - mean_y).square()).clamp(min=1e-8)


def similarity(predicted: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """L_sim of the paper for a valence/arousal set: 1 − (CCC of valence + CCC of arousal) / 2, in [0, 2].

    Args:
        predicted: B×2.
        labels: B×2 in [-1, 1].
        mask: B.
    """
    valence = concordance(predicted[:, 0], labels[:, 0], mask)
    arousal = concordance(predicted[:, 1], labels[:, 1], mask)
    return 1 - (valence + arousal) / 2


def out_of_range(predicted: Tensor, mask: Tensor) -> Tensor:
    """Mean squared distance of predicted values from [-1, 1] over the labelled samples: 0 where all are within.

    1 − CCC has hardly a slope where predictions are far from all labels: alone it let a network's values run away and
    stay there (docs/methods.md has the figures).

    Args:
        predicted: B×2.
        mask: B.
    """
    beyond = functional.relu(at_least_fp32(predicted).abs() - 1)
    return masked_mean(beyond.square().mean(dim=1), mask)


def discriminator_hinge(encoder_scores: Tensor, decoder_scores: Tensor, present: Tensor) -> Tensor:
    """L_D = mean(relu(1 − s_enc)) + mean(relu(1 + s_dec)): the negative of eq. 9's second line with eq. 10's g and h.

    Args:
        encoder_scores: B×(T+3), D's scores of (x, y0, ŷ).
        decoder_scores: B×(T+3), D's scores of (x̃, ỹ0, ỹ).
        present: bool B×(T+3), the scores that count: all but the marginal ones of missing labels.
    """
    real, drawn = functional.relu(1 - encoder_scores), functional.relu(1 + decoder_scores)
    return masked_mean(real, present) + masked_mean(drawn, present)


def generator_adversarial(encoder_scores: Tensor, decoder_scores: Tensor, present: Tensor) -> Tensor:
    """mean(s_enc) − mean(s_dec): the term that λ weighs in eq. 9, with ĥ(z) = −z.

    Args:
        encoder_scores: B×(T+3), D's scores of (x, y0, ŷ).
        decoder_scores: B×(T+3), D's scores of (x̃, ỹ0, ỹ).
        present: bool B×(T+3), the scores that count.
    """
    return masked_mean(encoder_scores - decoder_scores, present)
