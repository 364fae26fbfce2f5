"""`ltnet`: a latent truth behind the labels of several annotators."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core.config import option
from ..losses import masked_mean, mean_over_sets
from ..networks import Classifier
from ..networks.encoder import Trunk
from .base import METHODS, Batch, Problem, TrainingConfig, Uses, unit_images
from .classifier import ClassifierMethod

DIAGONAL = 0.99
"""Of each annotator's first matrix; the rest of a row is shared equally."""

WEIGHT_DECAY = 5e-4
"""Of the authors' solver; their layers double it for weights and have none for biases."""
MOMENTUM = 0.9
DECAY_POWER = 1.5
SMALLEST = 1e-7


@dataclass(frozen=True)
class LTNetConfig(TrainingConfig):
    """Options of LTNet."""

    pretrain_epochs: int = option(
        5, "epochs of plain cross entropy on all label sets before the annotators' matrices are learned", low=0
    )
    matrix_floor: float = option(
        0.01, "what a negative entry of an annotator's matrix becomes after a step", above=0, high=0.1
    )
    optimizer: str = option(
        "adam",
        "adam, or the authors' sgd: Nesterov momentum 0.9 and weight decay 5e-4 (theirs with learning_rate=0.01)",
        choices=("adam", "sgd"),
    )
    decay_epochs: int = option(
        0, "E: epoch e, from 0, learns at learning_rate·(1 − e/E)^1.5, later ones as the last; 0 for no decay", low=0
    )


class AnnotatedClassifier(Classifier):
    """A classifier with a matrix for each annotator.

    Args:
        trunk: images to features B×F.
        outputs: K.
        annotators: T.
    """

    def __init__(self, trunk: Trunk, outputs: int, annotators: int) -> None:
        super().__init__(trunk, outputs)
        beside = (1 - DIAGONAL) / (outputs - 1)
        first = torch.full((outputs, outputs), beside).fill_diagonal_(DIAGONAL)
        self.matrices = nn.Parameter(first.repeat(annotators, 1, 1))

    def rows(self) -> Tensor:
        """T×K×K, row the latent truth, column the annotator's label; every row sums to 1."""
        return self.matrices / self.matrices.sum(dim=2, keepdim=True)

    @torch.no_grad()
    def restore(self, floor: float) -> None:
        """Make probabilities of the matrices again: `floor` for what is negative, and rows that sum to 1."""
        self.matrices.copy_(torch.where(self.matrices < 0, floor, self.matrices))
        self.matrices.copy_(self.rows())


@METHODS.register("ltnet")
class LTNet(ClassifierMethod):
    """Learns a latent truth that one confusion matrix an annotator maps to each annotator's labels.

    p(y | x) = softmax(z)                          an image's latent truth, which the network says
    p(ỹ_t | x) = Σ_y p(y | x)·T_t[y, ỹ_t]          what annotator t says, T_t row-stochastic
    L = −mean over sets of mean log p(ỹ_t | x)     after `pretrain_epochs` of cross entropy on the mixed labels

    After each step negative entries of T_t become `matrix_floor` and rows are divided by their sums. The matrices start
    near the identity. The latent truth predicts; the heads are what each annotator would say.

    Choices: the latent truth of a sample is the network's p(y | x), as in the authors' released network. That network
    takes a softmax of p(ỹ_t | x), probabilities already, before its cross entropy; the likelihood is used here. Its
    loss is the sum over annotators, ours the mean. In the loss too rows are divided by their sums: a gradient of the
    bare entries makes all of them grow, and dividing afterwards then draws rows to uniform ones. One decay of the
    learning rate runs over pretraining and joint training; the authors' two runs had one each.
    """

    paper = "Zeng, Shan & Chen, ECCV 2018"
    uses = Uses()
    config_class = LTNetConfig
    config: LTNetConfig
    network: AnnotatedClassifier

    def __init__(self, problem: Problem, config: LTNetConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.pretrains = config.pretrain_epochs > 0
        if config.optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(
                self.network.parameters(),
                lr=config.learning_rate,
                momentum=MOMENTUM,
                weight_decay=WEIGHT_DECAY,
                nesterov=True,
            )
            self.optimizers = {"sgd": self.optimizer}

    def start_epoch(self, epoch: int) -> None:
        """Learn the matrices after `pretrain_epochs`, and set the epoch's learning rate."""
        self.pretrains = epoch < self.config.pretrain_epochs
        total = self.config.decay_epochs
        left = 1 - min(epoch, total - 1) / total if total else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * left**DECAY_POWER

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step on the cross entropy of the latent truth, or of what the annotators would say."""
        if self.pretrains:
            return super().update(batch)
        self.network.train()
        mapped = self._mapped(torch.softmax(self.network(unit_images(batch.images)).float(), dim=1))
        masks = [batch.masks[found.name] for found in self.problem.label_sets]
        losses = [
            masked_mean(-said.gather(1, batch.labels[found.name][:, None])[:, 0].clamp(min=SMALLEST).log(), mask)
            for found, said, mask in zip(self.problem.label_sets, mapped, masks, strict=True)
        ]
        loss = mean_over_sets(losses, masks)
        self.step(loss)
        self.network.restore(self.config.matrix_floor)
        diagonal = self.network.matrices.detach().diagonal(dim1=1, dim2=2).mean()
        return {"loss": loss.detach(), "cross_entropy": loss.detach(), "diagonal": diagonal}

    @torch.inference_mode()
    def predict_with_sets(self, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The latent truth by task, and by label set what its annotator would say."""
        truth = self.predict(images)
        mapped = self._mapped(next(iter(truth.values())).float())
        names = [found.name for found in self.problem.label_sets]
        return truth, dict(zip(names, mapped, strict=True))

    def _mapped(self, truth: Tensor) -> Tensor:
        """T×B×K, each annotator's p(ỹ | x) of the latent truth B×K."""
        with torch.autocast(truth.device.type, enabled=False):  # or the matrices' rows would be rounded
            return truth @ self.network.rows()

    def _classifier(self) -> Classifier:
        annotators = len(self.problem.label_sets)
        found: Classifier = self._place(AnnotatedClassifier(self._trunk(), sum(self.widths), annotators))
        return found
