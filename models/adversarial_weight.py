"""λ, the weight of `proposed`'s adversarial term, found from step to step without clean labels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .set_rates import SetRates

RULES = ("fixed", "balance", "controller", "uncertainty")
"""What decides λ: the user, or one of the rules below."""

AUTO_RULE = "balance"
"""The rule that `lambda=auto` stands for."""

SMALLEST, LARGEST = 0.01, 1.0
"""Limits of a rule's λ. 1 is the largest value that the paper uses; at 7 to 10 an encoder that has learned little
answers one class, from which it does not come back (docs/lambda.md)."""

DECAY = 0.99
"""How much of a running mean stays at each step."""

LARGEST_RATE = 0.9
"""A higher share of wrong labels counts as this one, at which their odds are 9 to 1."""

GAIN = 0.01
"""Of the controller: how much log λ moves at a step for each unit that L_D is off its target."""

LEARNING_RATE = 0.02
"""Of the uncertainties: near where they belong, a step takes them 1 % of the way, as a running mean goes."""

LEAST_LOSS = 0.1
"""A loss below this, or negative, counts as this one where its logarithm is sought."""


@dataclass(frozen=True)
class Step:
    """What a step shows before its λ is used, as detached scalars.

    Attributes:
        prediction: L_pred.
        adversarial: L_adv, the term that λ weighs.
        discriminator: L_D of the discriminator's last update.
        slopes: ‖∂L_pred/∂h‖ and ‖∂L_adv/∂h‖ of the encoder's features h, over the whole batch, as two numbers; None
            where the rule does not compare them.
    """

    prediction: Tensor
    adversarial: Tensor
    discriminator: Tensor
    slopes: Tensor | None = None


class WeightRule(ABC):
    """A way to find λ. Its numbers are tensors on the device and stay there: no step waits for them.

    Attributes:
        compares_slopes: it is to be shown the slopes.
        state: its numbers by name.
    """

    compares_slopes: ClassVar[bool] = False

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    @abstractmethod
    def weight(self, step: Step) -> Tensor:
        """λ of this step, a detached scalar; called once a step."""

    def told(self) -> dict[str, float]:
        """What there is to show beside λ, by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The numbers from which it goes on."""
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back what `state_dict` returned."""
        self.state = {name: state[name].to(before.device) for name, before in self.state.items()}


class Balance(WeightRule):
    """The two terms' slopes at the encoder's last shared layer stand in a chosen proportion.

    λ = ratio · r/(1 − r) · ‖∂L_pred/∂h‖ / ‖∂L_adv/∂h‖,   r the share of wrong labels, λ within [0, `LARGEST`]

    VQGAN's adaptive weight (Esser et al., CVPR 2021) is such a quotient, for the weights of the decoder's last layer
    and without a proportion; GradNorm (Chen et al., ICML 2018) learns weights that make such norms of the last shared
    layer's weights equal up to training rates. Here h is what that layer gives, so that no slope passes a convolution.
    Both norms are running means. That these start at 0 does not show in their quotient.

    Args:
        ratio: of λ·‖∂L_adv/∂h‖ to ‖∂L_pred/∂h‖ where the odds of wrong labels are even.
        rates: r is their mean, as it is known at a step.
        device: where the numbers are.
    """

    compares_slopes = True

    def __init__(self, ratio: float, rates: SetRates, device: torch.device) -> None:
        super().__init__({"slopes": torch.zeros(2, device=device)})
        self.ratio, self.rates = ratio, rates

    def weight(self, step: Step) -> Tensor:
        """λ by the running means of both norms, this step's among them."""
        if step.slopes is None:
            raise ValueError("a rule that compares slopes must be shown them")
        means = torch.lerp(step.slopes, self.state["slopes"], DECAY)
        self.state["slopes"] = means
        rate = min(self.rates.mean, LARGEST_RATE)
        quotient = means[0] / means[1].clamp(min=1e-12)
        return (self.ratio * rate / (1 - rate) * quotient).clamp(max=LARGEST)

    def told(self) -> dict[str, float]:
        """`noise_rate`, r."""
        return {"noise_rate": self.rates.mean}

    def state_dict(self) -> dict[str, Any]:
        """The running means, and the rates that are known."""
        return {**super().state_dict(), "rates": dict(self.rates.rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back what `state_dict` returned."""
        super().load_state_dict(state)
        self.rates.rates = dict(state["rates"])


class Controller(WeightRule):
    """A discriminator that is too strong has λ grow, one that is too weak has it shrink.

    log λ ← log λ + `GAIN` · (target − running mean of L_D),   λ within [`SMALLEST`, `LARGEST`]

    An integral controller: the generator fights the harder the larger λ is, so L_D grows with it. The paper observes
    that its best runs end at L_D ≈ 0.45 (supplement, Sec. C).

    Args:
        start: λ before the first step, within the limits.
        target: of L_D.
        device: where the numbers are.
    """

    def __init__(self, start: float, target: float, device: torch.device) -> None:
        logarithm = math.log(start)
        zero = torch.zeros((), device=device)
        super().__init__({"log_weight": zero + logarithm, "sum": zero, "mass": zero})
        self.target = target

    def weight(self, step: Step) -> Tensor:
        """λ after this step's L_D."""
        self.state["sum"] = DECAY * self.state["sum"] + (1 - DECAY) * step.discriminator
        self.state["mass"] = DECAY * self.state["mass"] + (1 - DECAY)
        moved = self.state["log_weight"] + GAIN * (self.target - self.state["sum"] / self.state["mass"])
        self.state["log_weight"] = moved.clamp(math.log(SMALLEST), math.log(LARGEST))
        return self.state["log_weight"].exp()


class Uncertainty(WeightRule):
    """Each term is weighed by a learned uncertainty (Kendall, Gal & Cipolla, CVPR 2018).

    L = Σ_i e^{−s_i}·L_i + s_i/2,   s_i = log σ_i²,   i of L_pred and L_adv
    λ = e^{s_pred − s_adv}, so that L_pred keeps the weight 1: Adam does not feel a factor of all of its loss

    This is their form for classification, L/σ² + log σ (Sec. 3.2). With constant losses e^{s_i} becomes 2·L_i and λ
    therefore L_pred/L_adv; with their form for regression, L/(2σ²) + log σ, λ becomes the same. s is learned by
    gradient descent with `LEARNING_RATE` on the detached losses, from s_pred = 0; no step takes it beyond log(2·L_i),
    or a single huge loss would outlast a run. L_adv is a difference of scores and may be negative, where its
    uncertainty would fall without end: a loss below `LEAST_LOSS` counts as that. λ is kept within [`SMALLEST`,
    `LARGEST`].

    Args:
        start: λ before the first step, within the limits.
        device: where the numbers are.
    """

    def __init__(self, start: float, device: torch.device) -> None:
        logarithm = math.log(start)
        super().__init__({"log_variances": torch.tensor([0.0, -logarithm], device=device)})

    def weight(self, step: Step) -> Tensor:
        """λ by the uncertainties before this step, which moves them."""
        found = self.state["log_variances"]
        losses = torch.stack([step.prediction, step.adversarial]).clamp(min=LEAST_LOSS)
        moved = found - LEARNING_RATE * (0.5 - torch.exp(-found) * losses)
        self.state["log_variances"] = torch.minimum(moved, torch.maximum(found, (2 * losses).log()))
        return torch.exp(found[0] - found[1]).clamp(SMALLEST, LARGEST)


def differentiated(term: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Tensor:
    """term(*inputs), a scalar, differentiated here and once: later passes back from it do not enter the term again.

    The term's own graph is let go. A compiled network in it so has one backward for each forward, which its compiler
    may rely on.

    Args:
        term: a function to a scalar.
        inputs: its arguments; those that require gradients will have them.
    """
    leaves = [each.detach().requires_grad_(each.requires_grad) for each in inputs]
    value = term(*leaves)
    value.backward(inputs=[leaf for leaf in leaves if leaf.requires_grad])
    pairs = [(whole, leaf.grad) for whole, leaf in zip(inputs, leaves, strict=True) if leaf.grad is not None]
    tangent = sum(((whole * slope).sum() for whole, slope in pairs), value.detach())
    return value.detach() + (tangent - tangent.detach())
