"""What methods share that train one network with a head a task on all label sets: the paper's adaptation of losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...core.config import option
from ..losses import cross_entropy, mean_over_sets, out_of_range, similarity
from ..networks import Classifier
from .base import Batch, LabelSetSpec, Method, Problem, TrainingConfig, unit_images


@dataclass(frozen=True)
class ClassifierConfig(TrainingConfig):
    """Options of methods with a head a task, valence and arousal among them."""

    gamma: float = option(1.0, "γ, weight of 1 − CCC against the losses of classes", low=0)
    range_weight: float = option(
        1.0, "weight, beside 1 − CCC, of the squared distance of values from [-1, 1]; 0 is the paper's loss", low=0
    )


class ClassifierMethod(Method):
    """A trunk with a linear head for each task, and Adam.

    L = Σ_tasks mean over the task's label sets of their loss: of `set_loss` for classes, of γ·(1 − CCC + w·L_range) for
    valence and arousal, with L_range = `losses.out_of_range` and w = `range_weight`. A subclass writes `set_loss`, or
    more of what a step is.
    """

    config_class: ClassVar[type[TrainingConfig]] = ClassifierConfig
    config: Any  # with `gamma` and `range_weight`, where valence and arousal are used

    def __init__(self, problem: Problem, config: TrainingConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.tasks: dict[str, list[LabelSetSpec]] = {}
        for label_set in problem.label_sets:
            self.tasks.setdefault(label_set.task, []).append(label_set)
        self.widths = [sets[0].width for sets in self.tasks.values()]
        self.network = self._classifier()
        self.optimizer: torch.optim.Optimizer = self._adam(self.network)
        self.networks = {"classifier": self.network}
        self.optimizers = {"adam": self.optimizer}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of Adam on the sum over tasks of the mean loss of their label sets."""
        self.network.train()
        outputs = self.peers.gather(self.network(unit_images(batch.images)))
        loss, told = self.loss(self.by_head(outputs), self._whole(batch))
        self.step(loss)
        return {"loss": loss.detach(), **told}

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and each task's detached, as `cross_entropy` or `similarity` of all tasks of a kind,
        the latter with `out_of_range`.

        Args:
            outputs: by head, logits B×K or values B×2.
            batch: its labels.
        """
        total = torch.zeros((), device=self.device)
        told: dict[str, Tensor] = {}
        for sets in self.tasks.values():
            masks = [batch.masks[found.name] for found in sets]
            losses = [self._loss_of_set(outputs[self.head_of(found)], found, batch) for found in sets]
            loss = mean_over_sets(losses, masks)
            name = "similarity" if sets[0].continuous else "cross_entropy"
            told[name] = told.get(name, 0) + loss.detach()
            if sets[0].continuous:
                each = [out_of_range(outputs[self.head_of(found)], batch.masks[found.name]) for found in sets]
                beyond = mean_over_sets(each, masks)
                told["out_of_range"] = told.get("out_of_range", 0) + beyond.detach()
                loss = self.config.gamma * (loss + self.config.range_weight * beyond)
            total = total + loss
        return total, told

    def set_loss(self, logits: Tensor, label_set: LabelSetSpec, batch: Batch) -> Tensor:
        """A categorical set's loss, averaged over its labelled samples: the cross entropy.

        Args:
            logits: B×K, of the set's task.
            label_set: which set.
            batch: its labels, masks and indices.
        """
        return cross_entropy(logits, batch.labels[label_set.name], batch.masks[label_set.name])

    def step(self, loss: Tensor) -> None:
        """One step of Adam."""
        self.optimizer.zero_grad()
        loss.backward()
        self.peers.add_gradients(self.network.parameters())
        self.optimizer.step()

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """By task, class probabilities B×K or valence and arousal B×2."""
        self.network.eval()
        return self.probabilities(self.by_task(self.network(unit_images(images))))

    def by_head(self, outputs: Tensor) -> dict[str, Tensor]:
        """The outputs B×W by the names of the heads, which are the tasks' unless a method has others."""
        return self.by_task(outputs)

    def head_of(self, label_set: LabelSetSpec) -> str:
        """The name of the head that learns from a label set."""
        return label_set.task

    def by_task(self, outputs: Tensor) -> dict[str, Tensor]:
        """The head's outputs B×W by task, B×K or B×2."""
        return dict(zip(self.tasks, outputs.split(self.widths, dim=1), strict=True))

    def probabilities(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits by task to probabilities; values as they are."""
        return {
            task: outputs[task] if sets[0].continuous else torch.softmax(outputs[task], dim=1)
            for task, sets in self.tasks.items()
        }

    def _classifier(self) -> Classifier:
        """A fresh network on the device."""
        found: Classifier = self._place(Classifier(self._trunk(), sum(self.widths)))
        return found

    def _loss_of_set(self, output: Tensor, label_set: LabelSetSpec, batch: Batch) -> Tensor:
        if label_set.continuous:
            return similarity(output, batch.labels[label_set.name], batch.masks[label_set.name])
        return self.set_loss(output, label_set, batch)
