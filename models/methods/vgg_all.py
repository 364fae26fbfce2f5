"""`vgg-all`: VGG trained on all chosen label sets at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...core.config import option
from ..networks import Classifier
from .base import METHODS, LabelSetSpec, Uses, unit_images
from .classifier import ClassifierConfig
from .vgg import VGG


@dataclass(frozen=True)
class VGGAllConfig(ClassifierConfig):
    """Options of VGG on all label sets."""

    share: Literal["head", "trunk"] = option(
        "head",
        "what label sets of one task share: all with one head; or the trunk, and each has its own head",
        choices=("head", "trunk"),
    )


@METHODS.register("vgg-all")
class VGGAll(VGG):
    """VGG trained on all chosen label sets at once.

    With `share=head` a task has one linear head, and the mean of its sets' losses. With `share=trunk` every set has a
    head of its own, each is recorded, and the mean of a task's heads predicts: the encoder of `proposed` and its
    prediction loss (up to a factor), without latent vector and adversary. A head can then learn its set by heart, which
    one head cannot do with sets that contradict each other.
    """

    uses = Uses(labels="chosen", continuous=True)
    config_class = VGGAllConfig
    config: VGGAllConfig

    def by_head(self, outputs: Tensor) -> dict[str, Tensor]:
        """The outputs B×W by task, or by label set where each has its own head."""
        if self.config.share == "head":
            return self.by_task(outputs)
        sets = self.problem.label_sets
        parts = outputs.split([label_set.width for label_set in sets], dim=1)
        return {label_set.name: part for label_set, part in zip(sets, parts, strict=True)}

    def head_of(self, label_set: LabelSetSpec) -> str:
        """The task, or the set itself where each has its own head."""
        return label_set.task if self.config.share == "head" else label_set.name

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """By task, class probabilities B×K or valence and arousal B×2; the mean over heads where a set has its own."""
        return super().predict(images) if self.config.share == "head" else self.predict_with_sets(images)[0]

    @torch.inference_mode()
    def predict_with_sets(self, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The prediction, and each set's where it has its own head."""
        if self.config.share == "head":
            return super().predict_with_sets(images)
        outputs = self.by_head(self.network.eval()(unit_images(images)))
        by_set = {
            label_set.name: outputs[label_set.name]
            if label_set.continuous
            else torch.softmax(outputs[label_set.name], dim=1)
            for label_set in self.problem.label_sets
        }
        return {
            task: torch.stack([by_set[found.name] for found in sets]).mean(dim=0) for task, sets in self.tasks.items()
        }, by_set

    def _classifier(self) -> Classifier:
        if self.config.share == "head":
            return super()._classifier()
        outputs = sum(label_set.width for label_set in self.problem.label_sets)
        found: Classifier = self._place(Classifier(self._trunk(), outputs))
        return found
