"""`elr`: early-learning regularization, a pull towards what the network said of an image before it memorised labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...core.config import option
from ..losses import masked_mean, mean_over_sets
from .base import METHODS, Batch, Problem, Uses
from .classifier import ClassifierConfig, ClassifierMethod

SMALLEST = 1e-4
"""Probabilities are kept this far from 0 and from 1, as in the authors' code, so that log(1 − ⟨t, p⟩) is finite."""


@dataclass(frozen=True)
class ELRConfig(ClassifierConfig):
    """Options of early-learning regularization; defaults are those of the authors' code for CIFAR-10."""

    target_momentum: float = option(
        0.7, "β, how much of an image's running target stays when it is seen again", low=0, high=1
    )
    regularizer_weight: float = option(3.0, "λ, weight of log(1 − ⟨t, p⟩) against the cross entropy", low=0)


@METHODS.register("elr")
class ELR(ClassifierMethod):
    """Cross entropy, and a regularizer that keeps predictions near their own running mean of earlier epochs.

    L = CE(p, ỹ) + λ·mean log(1 − ⟨t, p⟩)               p = softmax(z); mean over the label sets of both terms
    t ← β·t + (1 − β)·p / Σ_k p_k                       per sample, before the loss, without gradient; t = 0 at first

    (the paper's L_ELR and its targets by temporal ensembling). The regularizer grows more negative the more p
    agrees with t: once the network has learned the easy samples, its slope cancels that of wrong labels' cross entropy.

    Choices: all label sets of a task share one head and so one prediction, which makes targets of each set the same
    numbers: there is one target a sample and task. The regularizer belongs to each set's loss, over the samples that
    the set has labelled: what pulls a sample to its target weighs as its cross entropy does, whichever sets lack its
    label, and with all labels there it is the regularizer once a task. p is kept in [1e-4, 1 − 1e-4], as in the
    authors' code. This is ELR with one network; ELR+ adds a second network, averages of weights and MixUp. Valence and
    arousal have no regularizer.
    """

    paper = "Liu, Niles-Weed, Razavian & Fernandez-Granda, NeurIPS 2020"
    uses = Uses(continuous=True)
    config_class = ELRConfig
    config: ELRConfig

    def __init__(self, problem: Problem, config: ELRConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.targets = {
            task: torch.zeros(problem.samples, sets[0].width, device=device)
            for task, sets in self.tasks.items()
            if not sets[0].continuous
        }

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy (and loss of valence and arousal) plus λ times the regularizer, after the targets have moved.

        Args:
            outputs: by task, logits B×K or values B×2.
            batch: its labels.
        """
        total, told = super().loss(outputs, batch)
        for task, targets in self.targets.items():
            masks = [batch.masks[found.name] for found in self.tasks[task]]
            chances = torch.softmax(outputs[task].float(), dim=1).clamp(SMALLEST, 1 - SMALLEST)
            moved = moved_targets(targets[batch.indices], chances.detach(), self.config.target_momentum)
            targets.index_copy_(0, batch.indices, moved)
            logarithms = torch.log(1 - (moved * chances).sum(dim=1))
            regularizer = mean_over_sets([masked_mean(logarithms, mask) for mask in masks], masks)
            total = total + self.config.regularizer_weight * regularizer
            told["regularizer"] = told.get("regularizer", 0) + regularizer.detach()
        return total, told

    def state_dict(self) -> dict[str, Any]:
        """Network, optimizer and running targets."""
        return {**super().state_dict(), "targets": dict(self.targets)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back what `state_dict` returned."""
        super().load_state_dict(state)
        self.targets = {task: values.to(self.device) for task, values in state["targets"].items()}


def moved_targets(targets: Tensor, chances: Tensor, momentum: float) -> Tensor:
    """β·t + (1 − β)·p / Σ_k p_k, B×K.

    Args:
        targets: t, B×K.
        chances: p, B×K, positive.
        momentum: β.
    """
    return momentum * targets + (1 - momentum) * chances / chances.sum(dim=1, keepdim=True)
