"""`dawid-skene`: VGG trained on the truth that an EM estimates from all label sets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...core.config import option
from ..aggregation import dawid_skene
from ..losses import masked_mean
from .base import METHODS, Batch, Problem, TrainingConfig, TrainingSet, Uses
from .classifier import ClassifierMethod


@dataclass(frozen=True)
class DawidSkeneConfig(TrainingConfig):
    """Options of EM aggregation."""

    em_iterations: int = option(100, "at most so many iterations of EM; 0 learns from the shares of votes", low=0)


@METHODS.register("dawid-skene")
class DawidSkene(ClassifierMethod):
    """VGG trained on the posterior that Dawid and Skene's EM gives from all label sets of a task, as soft targets.

    L = −mean Σ_k T_k·log softmax(z)_k, over the samples that have a label in any set

    T, each set's confusion matrix π and the classes' prior come from EM on the labels alone, once, before training
    (`models.aggregation.dawid_skene` has the equations). It assumes that sets err independently given the truth, and
    needs three sets to tell who errs: one set stays as it is, and this is `vgg-all` on it.

    `noise_rates` has, by label set, the expected share of its labels that are wrong, and `transitions` its confusion
    matrix K×K (row the true class, column the label), both as EM estimates them; detached, from `prepare` on.

    Choices: the EM is our own. crowd-kit has the same one, and requires nltk and transformers, which nothing here
    needs, and a table with a row for every label; the tests compare ours with a literal one.
    """

    paper = "Dawid & Skene, Applied Statistics 1979"
    uses = Uses()
    config_class = DawidSkeneConfig
    config: DawidSkeneConfig

    def __init__(self, problem: Problem, config: DawidSkeneConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.targets: dict[str, Tensor] = {}
        self.noise_rates: dict[str, Tensor] = {}
        self.transitions: dict[str, Tensor] = {}

    def prepare(self, training: TrainingSet) -> None:
        """Estimate the truth of every training sample; without chance, so that a resumed run has the same."""
        for task, sets in self.tasks.items():
            names = [found.name for found in sets]
            labels, masks = [training.labels[name] for name in names], [training.masks[name] for name in names]
            found = dawid_skene(labels, masks, sets[0].width, self.config.em_iterations)
            self.targets[task] = found.posterior.float().to(self.device)
            self.noise_rates |= dict(zip(names, found.noise_rates, strict=True))
            self.transitions |= dict(zip(names, found.confusion, strict=True))

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The cross entropy with the posterior, summed over tasks.

        Args:
            outputs: by task, logits B×K.
            batch: its masks and indices.
        """
        total = torch.zeros((), device=self.device)
        for task, sets in self.tasks.items():
            labelled = torch.stack([batch.masks[found.name] for found in sets]).any(dim=0)
            targets = self.targets[task][batch.indices]
            total = total + masked_mean(functional.cross_entropy(outputs[task], targets, reduction="none"), labelled)
        return total, {"cross_entropy": total.detach()}
