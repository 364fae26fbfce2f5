"""`co-teaching`: two networks, each learning from the samples that have a small loss for the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...core.config import option
from ..losses import masked_mean
from ..noise_rate import agreement_tells, rate_from_losses, rates_from_agreement
from ..set_rates import ESTIMATION_EPOCH, LATEST_EPOCH
from .base import METHODS, Batch, Problem, TrainingConfig, TrainingSet, Uses, unit_images
from .pair import PairMethod


@dataclass(frozen=True)
class CoTeachingConfig(TrainingConfig):
    """Options of Co-teaching; the ramp's defaults are those of the authors' code."""

    noise_rate: float = option(
        0.0, "τ, share of samples that are left out in the end; 0 estimates it without clean labels", low=0, high=0.99
    )
    ramp_epochs: int = option(10, "T_k, over which the share left out grows from 0 to τ", low=1)
    ramp_exponent: float = option(1.0, "c, the share left out is τ·min(T^c/T_k, 1) after T epochs", above=0)


@METHODS.register("co-teaching")
class CoTeaching(PairMethod):
    """Two networks that hand each other the samples of a batch with the smallest losses.

    ℓ_i = mean of the cross entropies of sample i over the sets that label it
    R(T) = 1 − τ·min(T^c/T_k, 1)                              share kept after T epochs
    D_f = the ⌈R(T)·n⌉ samples of a batch with the smallest ℓ of network f, D_g those of g
    f steps on mean_{D_g} ℓ(f), g on mean_{D_f} ℓ(g)

    n counts the batch's samples that any set labels; the others are never selected. The networks differ in their
    initial weights and dropout. The mean of both networks' probabilities predicts, and each is scored as well.

    Choices: the paper has one label a sample and a known τ. Where it is not given it is the mean of the sets' rates as
    their agreement tells them. With one set, or sets that share no sample, it is estimated from all labelled samples'
    losses, after two to ten epochs, when something has been learned (`rate_from_losses`, with the mean of both
    networks' losses, without dropout, and first labels); until then every sample is kept, and then the ramp is where
    it would have been. In the authors' code the share left out grows from τ^c/(T_k − 1) in the first epoch of training
    (its schedule starts at 0 in an epoch that only evaluates) to τ^c in epoch T_k − 1 and is τ thereafter; with c = 1
    it has all of τ two epochs before ours. It rounds R·n down.
    """

    paper = "Han, Yao, Yu, Niu, Xu, Hu, Tsang & Sugiyama, NeurIPS 2018"
    uses = Uses()
    config_class = CoTeachingConfig
    config: CoTeachingConfig

    def __init__(self, problem: Problem, config: CoTeachingConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.noise_rate: float | None = config.noise_rate or None
        self.forget_rate = 0.0

    def prepare(self, training: TrainingSet) -> None:
        """Estimate the noise rate from the sets' agreement, where there is any and the rate is not given."""
        super().prepare(training)
        labels = [training.labels[found.name] for found in self.problem.label_sets]
        masks = [training.masks[found.name] for found in self.problem.label_sets]
        if self.noise_rate is None and agreement_tells(masks):
            rates = rates_from_agreement(labels, masks, self.classes)
            self.noise_rate = float(rates.mean())

    def start_epoch(self, epoch: int) -> None:
        """Ramp the share left out, and estimate the noise rate from losses where nothing else told it."""
        if self.noise_rate is None and epoch >= ESTIMATION_EPOCH:
            self.noise_rate = self._rate(anyway=epoch >= LATEST_EPOCH)
        ramp = min(epoch**self.config.ramp_exponent / self.config.ramp_epochs, 1.0)
        self.forget_rate = (self.noise_rate or 0.0) * ramp

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """A step of Adam for either network, on what the other selected."""
        images = unit_images(batch.images)
        (first, labelled), (second, _) = (self.sample_losses(network.train()(images), batch) for network in self.pair)
        by_first, by_second = (select(found.detach(), labelled, self.forget_rate) for found in (first, second))
        loss = self.step("first", masked_mean(first, by_second)) + self.step("second", masked_mean(second, by_first))
        return {
            "loss": loss / 2,
            "cross_entropy": masked_mean((first + second).detach() / 2, labelled),
            "selected": masked_mean(by_first.float(), labelled),
            "same_selection": masked_mean((by_first & by_second).float(), by_first),
        }

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizers and the noise rate as far as it is known."""
        return {**super().state_dict(), "noise_rate": self.noise_rate}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back what `state_dict` returned."""
        super().load_state_dict(state)
        self.noise_rate = state["noise_rate"]

    def _rate(self, anyway: bool) -> float | None:
        """The noise rate by the losses of all labelled samples, if they tell it yet."""
        losses, labelled = self.training_losses()
        return rate_from_losses(losses.mean(dim=0)[labelled], self.first_labels()[labelled], anyway)


def select(losses: Tensor, labelled: Tensor, forget_rate: float) -> Tensor:
    """The ⌈(1 − forget_rate)·n⌉ of n labelled samples with the smallest losses, as bool B; earlier ones among equals.

    Args:
        losses: B.
        labelled: bool B.
        forget_rate: 0 to 1.
    """
    order = torch.where(labelled, losses, torch.inf).argsort(stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    # a product that is a whole number but for rounding must not be rounded up
    count = torch.ceil((1 - forget_rate) * labelled.sum().double() - 1e-6)
    return labelled & (rank < count)
