"""What the three VGG baselines share: one K-way head, the mean of the sets' cross entropies, Adam."""

from __future__ import annotations

import torch
from torch import Tensor

from ..losses import cross_entropy, mean_over_sets
from ..networks import VGGClassifier
from .base import Batch, Method, Problem, TrainingConfig, unit_images


class VGG(Method):
    """VGG-16 on the mean of the cross entropies of its label sets (Simonyan & Zisserman 2015; paper, Sec. 5.1)."""

    def __init__(self, problem: Problem, config: TrainingConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        classes = problem.label_sets[0].width
        self.network = self._place(VGGClassifier(problem.image_size, classes, config.width, config.hidden))
        self.optimizer = self._adam(self.network)
        self.networks = {"classifier": self.network}
        self.optimizers = {"adam": self.optimizer}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of Adam on the mean over label sets of the cross entropy."""
        self.network.train()
        logits = self.network(unit_images(batch.images))
        names = [label_set.name for label_set in self.problem.label_sets]
        masks = [batch.masks[name] for name in names]
        losses = [cross_entropy(logits, batch.labels[name], mask) for name, mask in zip(names, masks, strict=True)]
        loss = mean_over_sets(losses, masks)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach(), "cross_entropy": loss.detach()}

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Class probabilities B×K of the one task."""
        self.network.eval()
        return {self.problem.label_sets[0].task: torch.softmax(self.network(unit_images(images)), dim=1)}
