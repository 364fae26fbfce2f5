"""What methods share that train a head a task on another loss than the cross entropy."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..losses import cross_entropy, mean_over_sets
from .base import Batch
from .classifier import ClassifierMethod


class RobustMethod(ClassifierMethod):
    """A method with a head a task and its own `set_loss`, which tells the cross entropy beside it for comparison.

    Attributes:
        loss_name: under which the loss of classes is told.
    """

    loss_name: ClassVar[str]

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; that of classes is told as `loss_name`, and the plain `cross_entropy` is told too."""
        total, told = super().loss(outputs, batch)
        if "cross_entropy" in told:
            told[self.loss_name] = told.pop("cross_entropy")
            told["cross_entropy"] = self._cross_entropy(outputs, batch)
        return total, told

    @torch.no_grad()
    def _cross_entropy(self, outputs: dict[str, Tensor], batch: Batch) -> Tensor:
        """Sum over tasks with classes of the mean over sets."""
        total = torch.zeros((), device=self.device)
        for task, sets in self.tasks.items():
            if not sets[0].continuous:
                names = [found.name for found in sets]
                losses = [cross_entropy(outputs[task], batch.labels[name], batch.masks[name]) for name in names]
                total = total + mean_over_sets(losses, [batch.masks[name] for name in names])
        return total
