"""`dividemix`: two networks that split the samples for each other and learn the rest without their labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...core.config import option
from ..losses import masked_mean
from ..noise_rate import loss_mixture
from .base import METHODS, Batch, Problem, TrainingConfig, Uses, one_hot, unit_images
from .pair import PairMethod


@dataclass(frozen=True)
class DivideMixConfig(TrainingConfig):
    """Options of DivideMix; defaults are those of the authors' code for CIFAR-10."""

    pretrain_epochs: int = option(10, "epochs of plain cross entropy on all label sets before samples are split", low=0)
    clean_threshold: float = option(
        0.5, "τ, a sample keeps its labels where they are clean with a greater probability", low=0, high=1
    )
    temperature: float = option(0.5, "T, targets are sharpened to the power of 1/T", above=0, high=1)
    mixup: float = option(4.0, "α, images are mixed by a share drawn from Beta(α, α)", above=0)
    unlabelled_weight: float = option(25.0, "λ_u, weight of the squared error on samples without their labels", low=0)
    unlabelled_ramp_epochs: int = option(16, "epochs after the pretraining over which λ_u grows from 0", low=0)
    prior_weight: float = option(1.0, "λ_r, weight of the regularizer to all classes alike", low=0)


@dataclass(frozen=True)
class Terms:
    """A network's loss L = L_X + λ_u·L_U + λ_r·L_reg, in its parts."""

    labelled: Tensor
    unlabelled: Tensor
    prior: Tensor


@METHODS.register("dividemix")
class DivideMix(PairMethod):
    """Splits samples by a mixture on their losses, and learns the rest from guessed targets and mixed images.

    w_i = p(lower component | ℓ_i)                 two Gaussians on the other network's losses, each epoch
    ŷ_i = sharpen(w_i·y_i + (1 − w_i)·p_i, T)      where w_i > τ: refined by this network
    q̂_i = sharpen((p¹_i + p²_i)/2, T)              elsewhere: guessed by both
    l' = max(l, 1 − l), l ~ Beta(α, α)             MixUp of images and targets with any partner
    L_X = −mean Σ_c ŷ_c·log p_c                    over rows whose first image keeps its labels
    L_U = mean mean_c (q̂_c − p_c)²                 over the other rows
    L_reg = Σ_c π_c·log(π_c / p̄_c), π_c = 1/K      p̄ the batch's mean prediction
    L = L_X + λ_u·L_U + λ_r·L_reg

    y_i is the mean of the one-hot labels of the sets that label the sample, ℓ_i the mean of their cross entropies; a
    sample without a label has w = 0.

    Reduced to one set of networks and one view: the paper trains one network a whole epoch and then the other, on
    batches drawn from either part, with M = 2 augmented views for each target. Here both take a step on each batch,
    the split is within it, and targets are of the one view that is there, without dropout. L_U is divided by K, as in
    the authors' code, for which λ_u = 25 was found; the ramp of λ_u is from there too, as are the mixture's settings.
    Their confidence penalty for asymmetric noise in the pretraining, and the average of losses over five epochs at
    90 % noise, are left out.
    """

    paper = "Li, Socher & Hoi, ICLR 2020"
    uses = Uses()
    config_class = DivideMixConfig
    config: DivideMixConfig

    def __init__(self, problem: Problem, config: DivideMixConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.pretrains = config.pretrain_epochs > 0
        self.unlabelled_weight = 0.0
        # of each network's own losses; the other network uses them. No state: made anew from the networks each epoch
        self.clean = torch.ones(2, problem.samples, device=device)

    def start_epoch(self, epoch: int) -> None:
        """After `pretrain_epochs`, tell clean from wrong labels by each network's losses, and ramp λ_u."""
        config = self.config
        done = epoch - config.pretrain_epochs
        self.pretrains = done < 0
        if self.pretrains:
            return
        ramp = min(done / config.unlabelled_ramp_epochs, 1.0) if config.unlabelled_ramp_epochs else 1.0
        self.unlabelled_weight = config.unlabelled_weight * ramp
        losses, labelled = self.training_losses()
        self.clean = torch.stack([clean_probability(own, labelled) for own in losses])

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """A step of either network's Adam."""
        if self.pretrains:
            return self._pretrain(batch)
        guesses = [torch.softmax(logits.float(), dim=1) for logits in self.outputs(batch.images)]
        labels, masks = self.stacked(batch)
        given = mean_label(labels, masks, self.classes)
        inputs = unit_images(batch.images)
        losses, kept, terms = [], [], []
        for own, name in enumerate(self.networks):
            clean = torch.where(masks.any(dim=1), self.clean[1 - own][batch.indices], 0.0)
            keeps = clean > self.config.clean_threshold
            targets = self._targets(given, guesses[own], (guesses[0] + guesses[1]) / 2, clean, keeps)
            found = self._terms(own, inputs, targets, keeps)
            loss = found.labelled + self.unlabelled_weight * found.unlabelled + self.config.prior_weight * found.prior
            losses.append(self.step(name, loss))
            kept.append(keeps.float().mean())
            terms.append(found)
        return {
            "loss": torch.stack(losses).mean(),
            "cross_entropy": torch.stack([each.labelled.detach() for each in terms]).mean(),
            "unlabelled": torch.stack([each.unlabelled.detach() for each in terms]).mean(),
            "prior": torch.stack([each.prior.detach() for each in terms]).mean(),
            "selected": torch.stack(kept).mean(),
        }

    def _pretrain(self, batch: Batch) -> dict[str, Tensor]:
        losses = []
        inputs = unit_images(batch.images)
        for name, network in self.networks.items():
            found, labelled = self.sample_losses(network.train()(inputs), batch)
            loss = masked_mean(found, labelled)
            losses.append(self.step(name, loss))
        loss = torch.stack(losses).mean()
        return {"loss": loss, "cross_entropy": loss}

    def _targets(self, given: Tensor, own: Tensor, both: Tensor, clean: Tensor, keeps: Tensor) -> Tensor:
        """Refined labels where they are kept, guesses elsewhere, sharpened, B×K."""
        refined = clean[:, None] * given + (1 - clean[:, None]) * own
        return sharpen(torch.where(keeps[:, None], refined, both), self.config.temperature)

    def _terms(self, own: int, inputs: Tensor, targets: Tensor, keeps: Tensor) -> Terms:
        """The parts of a network's loss on mixed images.

        Args:
            own: which network.
            inputs: images B×3×S×S in [-1, 1].
            targets: B×K.
            keeps: bool B, whose labels are kept.
        """
        alpha = torch.tensor(self.config.mixup, device=self.device)
        # checks of the arguments would wait for the device
        drawn = torch.distributions.Beta(alpha, alpha, validate_args=False).sample()
        share = torch.maximum(drawn, 1 - drawn)
        partners = torch.randperm(len(inputs), device=self.device)
        mixed = share * inputs + (1 - share) * inputs[partners]
        mixed_targets = share * targets + (1 - share) * targets[partners]
        logits = self.pair[own].train()(mixed).float()
        return loss_terms(logits, mixed_targets, keeps)


def loss_terms(logits: Tensor, targets: Tensor, keeps: Tensor) -> Terms:
    """L_X, L_U and L_reg; the first two are 0 where no row counts for them.

    Args:
        logits: B×K, of mixed images.
        targets: B×K, mixed as well.
        keeps: bool B, rows that count for L_X; the others count for L_U.
    """
    logs = functional.log_softmax(logits, dim=1)
    chances = logs.exp()
    labelled = masked_mean(-(targets * logs).sum(dim=1), keeps)
    unlabelled = masked_mean((chances - targets).square().mean(dim=1), ~keeps)
    uniform = 1 / logits.shape[1]
    prior = (uniform * (uniform / chances.mean(dim=0).clamp(min=1e-12)).log()).sum()
    return Terms(labelled, unlabelled, prior)


def mean_label(labels: Tensor, masks: Tensor, classes: int) -> Tensor:
    """The mean of the one-hot labels of the sets that label a sample, B×K; zeros where none does.

    Args:
        labels: class ids B×T.
        masks: bool B×T.
        classes: K.
    """
    votes = one_hot(labels, classes) * masks[:, :, None]
    return votes.sum(dim=1) / masks.sum(dim=1, keepdim=True).clamp(min=1)


def sharpen(chances: Tensor, temperature: float) -> Tensor:
    """p^(1/T), divided by its sum over classes, B×K."""
    # divided by the greatest first, so that no power of all is 0
    powers = (chances / chances.amax(dim=1, keepdim=True)) ** (1 / temperature)
    return powers / powers.sum(dim=1, keepdim=True)


def clean_probability(losses: Tensor, labelled: Tensor) -> Tensor:
    """By each sample's loss the posterior of the lower of two Gaussians, N; 0 where there is no label.

    Losses are scaled to [0, 1] first. Where the labelled ones are all equal, none is wrong.

    Args:
        losses: N.
        labelled: bool N.
    """
    found = torch.zeros(len(losses), device=losses.device)
    values = losses[labelled]
    if not len(values) or values.min() == values.max():
        return labelled.float()
    mixture, scaled = loss_mixture(values, tolerance=1e-2, iterations=10)
    posterior = mixture.predict_proba(scaled)[:, mixture.means_[:, 0].argmin()]
    found[labelled] = torch.from_numpy(posterior).to(found)
    return found
