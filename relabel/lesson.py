"""How a teacher learns: one step of training for the loop that serves all methods. Not a method of the benchmark."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.losses import cross_entropy, out_of_range, similarity
from ..models.methods import Batch, Method, Problem, TrainingConfig
from ..models.networks.teacher import TeacherNetwork


@dataclass(frozen=True)
class LessonConfig(TrainingConfig):
    """What the steps depend on.

    Attributes:
        epochs: over which the learning rate falls.
    """

    epochs: int = 1


class Lesson(Method):
    """A teacher's network on the sum over its tasks of the masked cross entropy, or of 1 − (CCC_v + CCC_a)/2 and the
    squared distance of values from [-1, 1].

    Adam; the learning rate falls to 0 along half a cosine, epoch by epoch.
    """

    config_class = LessonConfig
    config: LessonConfig

    def __init__(self, network: TeacherNetwork, problem: Problem, config: LessonConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.network: TeacherNetwork = self._place(network)
        self.optimizer = self._adam(self.network)
        self.networks = {"teacher": self.network}
        self.optimizers = {"adam": self.optimizer}

    def start_epoch(self, epoch: int) -> None:
        """Set the epoch's learning rate."""
        rate = 0.5 * self.config.learning_rate * (1 + math.cos(math.pi * epoch / self.config.epochs))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of Adam on the sum over tasks."""
        self.network.train()
        outputs = self.network(batch.images)
        losses = {}
        for found in self.problem.label_sets:
            output, mask = outputs[found.task], batch.masks[found.name]
            loss = similarity if found.continuous else cross_entropy
            losses[found.task] = loss(output, batch.labels[found.name], mask)
            if found.continuous:
                losses[found.task] = losses[found.task] + out_of_range(output, mask)
        total = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return {"loss": total.detach(), **{task: loss.detach() for task, loss in losses.items()}}

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """By task, probabilities B×K or valence and arousal B×2."""
        self.network.eval()
        outputs = self.network(images)
        return {
            found.task: outputs[found.task] if found.continuous else torch.softmax(outputs[found.task], dim=1)
            for found in self.problem.label_sets
        }
