"""What the three VGG baselines share: one head a task, the mean of the sets' losses a task, Adam."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.config import option
from ..losses import cross_entropy, mean_over_sets, similarity
from ..networks import VGGClassifier
from .base import Batch, LabelSetSpec, Method, Problem, TrainingConfig, unit_images


@dataclass(frozen=True)
class VGGConfig(TrainingConfig):
    """Options of the VGG baselines."""

    gamma: float = option(1.0, "γ, weight of 1 − CCC against the cross entropies", low=0)


class VGG(Method):
    """VGG-16 with a linear head for each task (Simonyan & Zisserman 2015; paper, Sec. 5).

    L = Σ_tasks mean over the task's label sets of CE(ŷ, ỹ), or of γ·(1 − CCC) for valence and arousal: with both
    tasks the paper's multi-task VGGNet, with one task its single-task one.
    """

    config_class = VGGConfig
    config: VGGConfig
    parallel = True

    def __init__(self, problem: Problem, config: VGGConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.tasks: dict[str, list[LabelSetSpec]] = {}
        for label_set in problem.label_sets:
            self.tasks.setdefault(label_set.task, []).append(label_set)
        self.widths = [sets[0].width for sets in self.tasks.values()]
        self.network = self._place(VGGClassifier(problem.image_size, sum(self.widths), config.width, config.hidden))
        self.optimizer = self._adam(self.network)
        self.networks = {"classifier": self.network}
        self.optimizers = {"adam": self.optimizer}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of Adam on the sum over tasks of the mean loss of their label sets."""
        self.network.train()
        outputs = self.peers.gather(self.network(unit_images(batch.images))).split(self.widths, dim=1)
        batch = self._whole(batch)
        total = torch.zeros((), device=self.device)
        told: dict[str, Tensor] = {}
        for output, sets in zip(outputs, self.tasks.values(), strict=True):
            of_one = similarity if sets[0].continuous else cross_entropy
            masks = [batch.masks[found.name] for found in sets]
            losses = [of_one(output, batch.labels[found.name], mask) for found, mask in zip(sets, masks, strict=True)]
            loss = mean_over_sets(losses, masks)
            total = total + (self.config.gamma * loss if sets[0].continuous else loss)
            told["similarity" if sets[0].continuous else "cross_entropy"] = loss.detach()
        self.optimizer.zero_grad()
        total.backward()
        self.peers.add_gradients(self.network.parameters())
        self.optimizer.step()
        return {"loss": total.detach(), **told}

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """By task, class probabilities B×K or valence and arousal B×2."""
        self.network.eval()
        outputs = self.network(unit_images(images)).split(self.widths, dim=1)
        return {
            task: output if sets[0].continuous else torch.softmax(output, dim=1)
            for output, (task, sets) in zip(outputs, self.tasks.items(), strict=True)
        }
