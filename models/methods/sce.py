"""`sce`: symmetric cross entropy, the cross entropy and its reverse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.config import option
from ..losses import masked_mean
from .base import METHODS, Batch, LabelSetSpec, Uses
from .classifier import ClassifierConfig
from .robust import RobustMethod

LOG_NO_LABEL = math.log(1e-4)
"""A: what log 0 of a one-hot label counts as."""
LOG_NO_PROBABILITY = math.log(1e-7)
"""The least that the log of a prediction counts as."""


@dataclass(frozen=True)
class SCEConfig(ClassifierConfig):
    """Options of symmetric cross entropy; defaults are those of the authors' CIFAR-10 run."""

    forward_weight: float = option(0.1, "α, weight of the cross entropy of labels", low=0)
    reverse_weight: float = option(1.0, "β, weight of the reverse cross entropy, which tolerates noise", low=0)


@METHODS.register("sce")
class SCE(RobustMethod):
    """Adds to the cross entropy its reverse, with label and prediction exchanged, which wrong labels disturb less.

    ℓ_ce = −Σ_k q_k·log p_k                    q the one-hot label, p the prediction
    ℓ_rce = −Σ_k p_k·log q_k = −A·Σ_{k≠ỹ} p_k   the reverse, with log 0 = A < 0
    ℓ_sl = α·ℓ_ce + β·ℓ_rce                    the paper's symmetric loss

    Averaged over a set's labelled samples, then over a task's sets. Valence and arousal keep their loss
    (`ClassifierMethod`).

    Choices: A = log 1e-4, and p in ℓ_ce is at least 1e-7, as in the authors' code; below that ℓ_ce has no gradient.
    """

    paper = "Wang, Ma, Chen, Luo, Yi & Bailey, ICCV 2019"
    uses = Uses(continuous=True)
    config_class = SCEConfig
    config: SCEConfig
    parallel = True
    loss_name = "symmetric"

    def set_loss(self, logits: Tensor, label_set: LabelSetSpec, batch: Batch) -> Tensor:
        """The symmetric cross entropy of logits B×K, averaged over the set's labelled samples."""
        labels, mask = batch.labels[label_set.name], batch.masks[label_set.name]
        forward, reverse = symmetric_cross_entropy(logits.float(), labels)
        weighed = self.config.forward_weight * forward + self.config.reverse_weight * reverse
        return masked_mean(weighed, mask)


def symmetric_cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """ℓ_ce and ℓ_rce, each B.

    Args:
        logits: B×K.
        labels: class ids B.
    """
    given = torch.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    return -given.clamp(min=LOG_NO_PROBABILITY), LOG_NO_LABEL * given.expm1()  # −A·(1 − p_ỹ)
