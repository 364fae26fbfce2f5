"""`gce`: generalised cross entropy, between the cross entropy and the mean absolute error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.config import option
from ..losses import masked_mean
from .base import METHODS, Batch, LabelSetSpec, Uses
from .classifier import ClassifierConfig
from .robust import RobustMethod


@dataclass(frozen=True)
class GCEConfig(ClassifierConfig):
    """Options of generalised cross entropy; the default is the paper's."""

    loss_power: float = option(
        0.7, "q, towards 0 the loss is the cross entropy, at 1 the mean absolute error", above=0, high=1
    )


@METHODS.register("gce")
class GCE(RobustMethod):
    """Replaces the cross entropy by (1 − p^q)/q, whose gradient is weaker on labels that the network finds unlikely.

    L_q = (1 − p_ỹ^q)/q                        the paper's L_q; its gradient is the cross entropy's times p_ỹ^q

    Averaged over a set's labelled samples, then over a task's sets. Valence and arousal keep their loss
    (`ClassifierMethod`).

    Choices: this is the paper's L_q without truncation; the truncated form leaves out samples by alternating
    minimisation.
    """

    paper = "Zhang & Sabuncu, NeurIPS 2018"
    uses = Uses(continuous=True)
    config_class = GCEConfig
    config: GCEConfig
    parallel = True
    loss_name = "generalised"

    def set_loss(self, logits: Tensor, label_set: LabelSetSpec, batch: Batch) -> Tensor:
        """L_q of logits B×K, averaged over the set's labelled samples."""
        labels, mask = batch.labels[label_set.name], batch.masks[label_set.name]
        return masked_mean(generalised_cross_entropy(logits.float(), labels, self.config.loss_power), mask)


def generalised_cross_entropy(logits: Tensor, labels: Tensor, power: float) -> Tensor:
    """(1 − p_ỹ^q)/q, B; its gradient stays finite where p_ỹ is 0 in floating point.

    Args:
        logits: B×K.
        labels: class ids B.
        power: q in (0, 1].
    """
    given = torch.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    return -(power * given).expm1() / power
