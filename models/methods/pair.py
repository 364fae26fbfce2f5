"""What methods share that train two networks, each on what the other one says of the samples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..networks import Classifier
from ..precision import at_least_fp32
from .base import Batch, Method, Problem, TrainingConfig, TrainingSet, images_at_once, unit_images


class PairMethod(Method):
    """Two networks of different first weights with an optimizer each; the mean of their probabilities is predicted.

    All label sets are of one task. A sample's loss is the mean of the cross entropies of the sets that label it.
    """

    def __init__(self, problem: Problem, config: TrainingConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.task = problem.label_sets[0].task
        self.classes = problem.label_sets[0].width
        self.pair: tuple[Classifier, Classifier] = (self._network(), self._network())
        self.networks = {"first": self.pair[0], "second": self.pair[1]}
        self.optimizers = {name: self._adam(network) for name, network in self.networks.items()}
        self.training: TrainingSet | None = None

    def prepare(self, training: TrainingSet) -> None:
        """Keep the training samples, to look at all their losses later."""
        self.training = training

    def stacked(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's labels and masks, both B×T for T label sets."""
        names = [label_set.name for label_set in self.problem.label_sets]
        labels = torch.stack([batch.labels[name] for name in names], dim=1)
        return labels, torch.stack([batch.masks[name] for name in names], dim=1)

    def sample_losses(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each sample's mean cross entropy over the sets that label it, 0 without a label, and whether one does.

        Args:
            logits: B×K.
            batch: its labels and masks.

        Returns:
            Losses B and bool B.
        """
        labels, masks = self.stacked(batch)
        losses = -functional.log_softmax(at_least_fp32(logits), dim=1).gather(1, labels)
        count = masks.sum(dim=1)
        return (losses * masks).sum(dim=1) / count.clamp(min=1), count > 0

    @torch.inference_mode()
    def training_losses(self) -> tuple[Tensor, Tensor]:
        """Both networks' losses of all N training samples, without dropout, 2×N, and which have a label, bool N."""
        if self.training is None:
            raise RuntimeError("prepare must be called before training")
        losses, labelled = [], []
        for batch in self.training.in_order(images_at_once(self.problem.image_size)):
            found = [self.sample_losses(logits, batch) for logits in self.outputs(batch.images)]
            losses.append(torch.stack([each for each, _ in found]))
            labelled.append(found[0][1])
        return torch.cat(losses, dim=1), torch.cat(labelled)

    def first_labels(self) -> Tensor:
        """Of all N training samples the label of the first set that has one; any id where none has."""
        if self.training is None:
            raise RuntimeError("prepare must be called before training")
        names = [label_set.name for label_set in self.problem.label_sets]
        found = self.training.labels[names[-1]]
        for name in reversed(names[:-1]):
            found = torch.where(self.training.masks[name], self.training.labels[name], found)
        return found.to(self.device)

    @torch.inference_mode()
    def outputs(self, images: Tensor) -> list[Tensor]:
        """Both networks' logits B×K of uint8 images B×3×S×S, without dropout."""
        images = unit_images(images)
        return [network.eval()(images) for network in self.pair]

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """The mean of both networks' class probabilities, B×K."""
        return self.predict_with_sets(images)[0]

    @torch.inference_mode()
    def predict_with_sets(self, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The mean by task, and each network's as `<task>/first` and `<task>/second`, all B×K."""
        first, second = (torch.softmax(logits, dim=1) for logits in self.outputs(images))
        return {self.task: (first + second) / 2}, dict(zip(self.heads, (first, second), strict=True))

    @property
    def heads(self) -> dict[str, str]:
        """The two networks, both of the one task."""
        return {f"{self.task}/{name}": self.task for name in self.networks}

    def step(self, name: str, loss: Tensor) -> Tensor:
        """A step of one network's Adam; returns the loss, detached."""
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()
        return loss.detach()

    def _network(self) -> Classifier:
        """A fresh network on the device."""
        found: Classifier = self._place(Classifier(self._trunk(), self.classes))
        return found
