"""`air`: auxiliary image regularizer, a linear layer whose weights are sparse in groups of images' features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...core.config import option
from .base import METHODS, Batch, Problem, TrainingConfig, TrainingSet, Uses, images_at_once, unit_images
from .classifier import ClassifierMethod

AVERAGE = "average"
"""Name of W̄ among a predictor's tensors."""


@dataclass(frozen=True)
class AIRConfig(TrainingConfig):
    """Options of the auxiliary image regularizer; λ and ρ (theirs by ten classes) are of the authors' CIFAR-10 runs.

    All of these have λ = 10 and start at ρ = 10, most grow it by 1.1 up to 100.
    """

    pretrain_epochs: int = option(
        8, "epochs of cross entropy on all label sets, before the network is frozen and its last layer replaced", low=1
    )
    auxiliary_images: int = option(500, "training images whose features make the groups; memory grows with it", low=1)
    group_weight: float = option(10.0, "λ, weight of the auxiliary images' norms against the cross entropy", low=0)
    rho: float = option(1.0, "ρ of the augmented Lagrangian in the first step", above=0)
    rho_growth: float = option(1.1, "by what ρ is multiplied in each step", low=1)
    rho_limit: float = option(10.0, "largest ρ", above=0)
    admm_step: float = option(2.0, "η, length of a step of the linear layer's weights", above=0)


@dataclass
class Splitting:
    """What stochastic ADMM goes on from.

    Attributes:
        auxiliary: A×F, |x_ij|, features of the auxiliary images at unit length.
        weights: F×K, W.
        average: F×K, the mean W̄ that predicts; later steps weigh more.
        split: A×F×K, V.
        dual: A×F×K, U.
        rho: ρ of the next step.
        steps: taken so far.
    """

    auxiliary: Tensor
    weights: Tensor
    average: Tensor
    split: Tensor
    dual: Tensor
    rho: float
    steps: int = 0


@METHODS.register("air")
class AIR(ClassifierMethod):
    """A frozen network and a linear layer under group sparsity over images' features, by stochastic ADMM.

    min_W  CE(softmax(Wᵀx), ỹ) + λ/(A·K) · Σ_i Σ_k ‖diag(x_i)·w_k‖₂ / √nnz_i

    x are features at unit length of a network that was trained on the noisy labels for `pretrain_epochs` and then
    frozen; i are A auxiliary images, one group each: the features that an image has, by how much it has them. Where
    a group becomes 0 that image has no say, and those are to be the ones whose labels do not fit their neighbours.
    Groups overlap, so with M_i = diag(x_i) the paper splits V_i = M_i·W and takes, for each batch,

    W ← (ρ·D + 1/η)⁻¹ (−∇CE(W) + mean_i M_i(ρ·V_i + U_i) + W/η),  D = mean_i M_i²
    V_i ← soft(M_i·W − U_i/ρ, τ_i/ρ) column by column, τ_i = λ/(K·√nnz_i)
    U_i ← U_i − ρ·(M_i·W − V_i),  ρ ← min(ρ·growth, limit)

    with soft(v, t) = max(0, 1 − t/‖v‖₂)·v. W starts at 0, there is no bias, and W̄ ← (1 − θ)·W̄ + θ·W with θ = 2/(k+2)
    predicts.

    Choices: the paper's features are an ImageNet network's, ours see the data's noisy labels only. It has all training
    images as auxiliary ones, which needs 2·N·F·K numbers; ours are drawn at random when the network is frozen. Its
    objective is a sum over samples and classes and its η falls as 2/(k+2); here everything is a mean, ρ its ρ/K, and η
    is constant at 1/L for unit features. The ℓ1 and ℓ2 terms of its code have weight 0 in its runs and are left out.
    """

    paper = "Azadi, Feng, Jegelka & Darrell, ICLR 2016"
    uses = Uses()
    config_class = AIRConfig
    config: AIRConfig

    def __init__(self, problem: Problem, config: AIRConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.training: TrainingSet | None = None
        self.splitting: Splitting | None = None

    def prepare(self, training: TrainingSet) -> None:
        """Keep the training images, to choose auxiliary ones later."""
        self.training = training

    def start_epoch(self, epoch: int) -> None:
        """Freeze the network and choose auxiliary images when its training is over."""
        if epoch >= self.config.pretrain_epochs and self.splitting is None:
            self.splitting = self._start()

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of Adam while the network is trained, one step of ADMM thereafter."""
        if self.splitting is None:
            return super().update(batch)
        state, config = self.splitting, self.config
        weights = state.weights.requires_grad_(True)
        entropy, told = self.loss(self.by_task(self._features(batch.images) @ weights), batch)
        (gradient,) = torch.autograd.grad(entropy, weights)
        state.weights = weights.detach()
        thresholds = config.group_weight / (state.weights.shape[1] * count_nonzero(state.auxiliary).sqrt())
        norms = admm_step(state, gradient, thresholds, config.admm_step)
        state.rho = min(state.rho * config.rho_growth, config.rho_limit)
        regularizer = (thresholds[:, None] * norms).sum(dim=1).mean()
        sparse = (norms == 0).float().mean()
        told |= {"regularizer": regularizer, "empty_groups": sparse}
        return {"loss": entropy.detach() + regularizer, **told}

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Class probabilities B×K."""
        if self.splitting is None:
            return super().predict(images)
        return self.probabilities(self.by_task(self._features(images) @ self.splitting.average))

    def state_dict(self) -> dict[str, Any]:
        """Network, optimizer and, once there, what ADMM goes on from."""
        state = self.splitting
        stored = None if state is None else {field.name: getattr(state, field.name) for field in fields(state)}
        return {**super().state_dict(), "splitting": stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back what `state_dict` returned."""
        super().load_state_dict(state)
        stored = state["splitting"]
        self.splitting = None
        if stored is not None:
            moved: dict[str, Any] = {
                name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in stored.items()
            }
            self.splitting = Splitting(**moved)

    def predictor(self) -> dict[str, Tensor]:
        """The network, and once there the layer W̄ in place of its last one."""
        state = self.splitting
        return super().predictor() | ({} if state is None else {AVERAGE: state.average})

    def load_predictor(self, tensors: Mapping[str, Tensor]) -> None:
        """Bring back what `predictor` returned; it cannot be trained further."""
        networks = dict(tensors)
        average = networks.pop(AVERAGE, None)
        super().load_predictor(networks)
        self.splitting = None
        if average is not None:
            if average.shape != self.network.head.weight.T.shape:
                raise RuntimeError(f"{AVERAGE} is {tuple(average.shape)}")
            average = average.to(self.device)
            none = average.new_zeros(0)
            self.splitting = Splitting(none, average.clone(), average, none, none, self.config.rho)

    def _features(self, images: Tensor) -> Tensor:
        """Features at unit length, B×F, of uint8 images."""
        self.network.eval()
        with torch.no_grad():
            features = self.network.trunk(unit_images(images)).float()
            return functional.normalize(features, dim=1)

    def _start(self) -> Splitting:
        """W = V = U = 0, and the auxiliary images' features."""
        training = self.training
        if training is None:
            raise RuntimeError("prepare must be called before training")
        chosen = torch.randperm(len(training))[: self.config.auxiliary_images].sort().values.to(self.device)
        looks = training.in_order(images_at_once(self.problem.image_size))
        features = torch.cat([self._features(batch.images) for batch in looks])[chosen].abs()
        rows, columns = features.shape
        flat = torch.zeros(columns, sum(self.widths), device=self.device)
        deep = torch.zeros(rows, columns, flat.shape[1], device=self.device)
        return Splitting(features, flat, flat.clone(), deep, deep.clone(), min(self.config.rho, self.config.rho_limit))


def count_nonzero(auxiliary: Tensor) -> Tensor:
    """Features that each auxiliary image has, A; at least 1."""
    return (auxiliary > 0).sum(dim=1).clamp(min=1).float()


def admm_step(state: Splitting, gradient: Tensor, thresholds: Tensor, eta: float) -> Tensor:
    """One step of W, V, U and W̄, in place; returns the groups' norms ‖V_ik‖₂, A×K.

    Args:
        state: changed.
        gradient: F×K, of the loss at W.
        thresholds: A, τ_i.
        eta: η.
    """
    rho = state.rho
    groups = state.auxiliary[:, :, None]
    pull = (groups * (rho * state.split + state.dual)).mean(dim=0)
    diagonal = rho * state.auxiliary.square().mean(dim=0)[:, None]
    state.weights = (pull - gradient + state.weights / eta) / (diagonal + 1 / eta)
    image = groups * state.weights
    raw = image - state.dual / rho
    sizes = raw.norm(dim=1)
    norms = torch.relu(sizes - thresholds[:, None] / rho)
    state.split = raw * (norms / sizes.clamp(min=torch.finfo(sizes.dtype).tiny))[:, None, :]
    state.dual = state.dual - rho * (image - state.split)
    theta = 2 / (state.steps + 2)
    state.average = (1 - theta) * state.average + theta * state.weights
    state.steps += 1
    return norms
