"""`forward`: loss correction by the transition matrix of each label set's noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ...core.config import option
from ...core.errors import UserError
from ..losses import cross_entropy, masked_mean, mean_over_sets
from ..networks import Classifier
from .base import METHODS, Batch, LabelSetSpec, Problem, TrainingSet, Uses, images_at_once, unit_images
from .classifier import ClassifierConfig
from .robust import RobustMethod

LOG_SMALLEST = math.log(1e-6)
"""An entry of T below 1e-6 counts as 1e-6, so that a label that T excludes costs a finite loss."""


@dataclass(frozen=True)
class ForwardConfig(ClassifierConfig):
    """Options of forward correction."""

    transition: Literal["known", "estimated"] = option(
        "estimated",
        "where each label set's transition matrix comes from: the manifest, or anchor points",
        choices=("known", "estimated"),
    )
    pretrain_epochs: int = option(
        5, "epochs of plain cross entropy on all label sets before matrices are estimated; none where known", low=1
    )
    anchor_percentile: float = option(
        97.0,
        "an estimate's anchor of a class is the image at this percentile of its probability; 100 is the maximum",
        low=0,
        high=100,
    )


@METHODS.register("forward")
class Forward(RobustMethod):
    """Passes predictions through each label set's transition matrix before they are compared with its labels.

    ℓ→ = −log Σ_i T_iỹ·p_i                    the paper's forward loss, p the prediction of the true class
    x̄_i = argmax_x P(ỹ = i | x)               the anchor point of class i
    T̂_ij = P(ỹ = j | x̄_i)                     the estimate

    T is K×K, row the true class, column the label, one for each label set. Losses are averaged over a set's labelled
    samples, then over a task's sets. Valence and arousal keep their loss (`ClassifierMethod`).

    `transition=known` takes T from the manifest and corrects from the first step on. `estimated` first trains for
    `pretrain_epochs` on the plain cross entropy, then looks over all training images once, and goes on with the same
    weights and the corrected loss.

    Choices: a set's P(ỹ | x) needs an output of its own, so an estimating network has a further linear head for each
    label set, trained on that set's labels in the pretraining only; the heads that predict learn from all sets. As
    in the authors' code for CIFAR-10, the anchor is not the maximum, which one odd image decides, but at a high
    percentile (97; for CIFAR-100 their code takes the maximum). With classes rarer than 3 % of the images raise
    `anchor_percentile`. The authors train a second network from scratch after the estimate; here one run has one
    network and one number of epochs.
    """

    paper = "Patrini, Rozza, Menon, Nock & Qu, CVPR 2017"
    uses = Uses(continuous=True)
    config_class = ForwardConfig
    config: ForwardConfig
    loss_name = "corrected"

    def __init__(self, problem: Problem, config: ForwardConfig, device: torch.device) -> None:
        self.noisy_sets = [found for found in problem.label_sets if not found.continuous]
        self.estimates = config.transition == "estimated"
        super().__init__(problem, config, device)
        self.transitions = self._first_transitions()
        self.corrects = not self.estimates
        self.training: TrainingSet | None = None

    def prepare(self, training: TrainingSet) -> None:
        """Keep the training samples, to find anchor points among them."""
        self.training = training

    def start_epoch(self, epoch: int) -> None:
        """Estimate the matrices once `pretrain_epochs` are over."""
        if not self.corrects and epoch >= self.config.pretrain_epochs:
            self._estimate()
            self.corrects = True

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of Adam on the corrected loss, or in the pretraining on the cross entropy of all heads."""
        self.network.train()
        outputs = self.network(unit_images(batch.images))
        loss, told = self.loss(self.by_task(outputs), batch)
        if not self.corrects:
            names = [found.name for found in self.noisy_sets]
            heads = self._by_set(outputs)
            losses = [cross_entropy(heads[name], batch.labels[name], batch.masks[name]) for name in names]
            if losses:
                told["noisy_heads"] = mean_over_sets(losses, [batch.masks[name] for name in names])
                loss = loss + told["noisy_heads"]
        self.step(loss)
        return {name: value.detach() for name, value in ({"loss": loss} | told).items()}

    def set_loss(self, logits: Tensor, label_set: LabelSetSpec, batch: Batch) -> Tensor:
        """The forward-corrected loss of logits B×K, or in the pretraining the cross entropy."""
        if not self.corrects:
            return super().set_loss(logits, label_set, batch)
        labels, mask = batch.labels[label_set.name], batch.masks[label_set.name]
        noisy = log_noisy(logits.float(), self.transitions[label_set.name])
        return masked_mean(functional.nll_loss(noisy, labels, reduction="none"), mask)

    def by_task(self, outputs: Tensor) -> dict[str, Tensor]:
        """The predicting heads' outputs by task, B×K or B×2."""
        return super().by_task(outputs[:, : sum(self.widths)])

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizer, matrices, and whether these are used yet."""
        return {**super().state_dict(), "transitions": dict(self.transitions), "corrects": self.corrects}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back what `state_dict` returned."""
        super().load_state_dict(state)
        self.transitions = {name: matrix.to(self.device) for name, matrix in state["transitions"].items()}
        self.corrects = state["corrects"]

    def _first_transitions(self) -> dict[str, Tensor]:
        """The known matrices; before an estimate the identity's.

        Raises:
            UserError: a matrix should be known and is not.
        """
        if self.estimates:
            return {found.name: torch.eye(found.width, device=self.device) for found in self.noisy_sets}
        unknown = [found.name for found in self.noisy_sets if found.transition is None]
        if unknown:
            raise UserError(
                f"forward with transition=known needs the transition matrix of every label set, and the manifest has "
                f"none for {', '.join(unknown)}. Choose other sets with --labels, or --set transition=estimated."
            )
        return {found.name: torch.tensor(found.transition, device=self.device) for found in self.noisy_sets}

    @torch.inference_mode()
    def _estimate(self) -> None:
        """T of each set from its head's probabilities of all training images."""
        if self.training is None:
            raise ValueError("forward estimates matrices from the training samples that `prepare` is given")
        self.network.eval()
        looks = self.training.in_order(images_at_once(self.problem.image_size))
        parts = [self._by_set(self.network(unit_images(look.images))) for look in looks]
        for found in self.noisy_sets:
            probabilities = torch.softmax(torch.cat([part[found.name].float() for part in parts]), dim=1)
            # a copy, since a tensor made in inference mode cannot be saved for a backward pass
            matrix = anchor_transition(probabilities, self.config.anchor_percentile)
            self.transitions[found.name].copy_(matrix)

    def _by_set(self, outputs: Tensor) -> dict[str, Tensor]:
        """Logits B×K of each categorical set's own head."""
        own = outputs[:, sum(self.widths) :].split([found.width for found in self.noisy_sets], dim=1)
        return {found.name: logits for found, logits in zip(self.noisy_sets, own, strict=True)}

    def _classifier(self) -> Classifier:
        further = sum(found.width for found in self.noisy_sets) if self.estimates else 0
        found: Classifier = self._place(Classifier(self._trunk(), sum(self.widths) + further))
        return found


def log_noisy(logits: Tensor, transition: Tensor) -> Tensor:
    """log Σ_i T_ij·p_i, B×K.

    Args:
        logits: B×K, of the true class.
        transition: T, K×K, row the true class, column the label.
    """
    log_transition = transition.log().clamp(min=LOG_SMALLEST)
    return torch.logsumexp(torch.log_softmax(logits, dim=1)[:, :, None] + log_transition, dim=1)


def anchor_transition(probabilities: Tensor, percentile: float) -> Tensor:
    """T̂: its row i is the prediction for the image at a percentile of class i's probability.

    Args:
        probabilities: N×K, P(ỹ | x) of each image.
        percentile: 0 to 100; 100 is the image with the highest probability.
    """
    place = int((len(probabilities) - 1) * percentile / 100)
    return probabilities[probabilities.argsort(dim=0, stable=True)[place]]
