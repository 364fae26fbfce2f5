"""Label sets of several annotators into one estimate of the truth, without images: the EM of Dawid and Skene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1e-8
"""EM has converged when the mean log-likelihood of a sample grows by less than this, in nats."""
SMALLEST = 1e-10
"""Entries of π are at least this before a logarithm is taken, since 0·log 0 is no number. p is not raised: a class that
nobody has would come back to life, iteration by iteration."""
MOST_PATTERNS = 2**62
"""Combinations of labels that an int64 can number; before there are more, those that do not occur lose theirs."""


@dataclass(frozen=True)
class Consensus:
    """What Dawid and Skene's model says of label sets.

    Attributes:
        posterior: float64 N×K, T, probability of each class for each sample; where no set has a label, the prior.
        prior: K, p, the classes' shares among samples that have a label.
        confusion: S×K×K, π, row the true class, column the label that the set gives; a class that nobody has is a row
            of zeros.
        noise_rates: S, expected share of wrong labels among a set's labels; 0 where it has none.
        likelihoods: mean log-likelihood of a sample that has a label, before each E-step.
    """

    posterior: Tensor
    prior: Tensor
    confusion: Tensor
    noise_rates: Tensor
    likelihoods: tuple[float, ...]


def dawid_skene(labels: Sequence[Tensor], masks: Sequence[Tensor], classes: int, iterations: int) -> Consensus:
    """Maximum-likelihood estimates of the truth and of each set's errors by EM (Dawid & Skene 1979).

    T_ij = n_ij / Σ_j n_ij                               start: the share of votes for class j
    π_jl = Σ_i T_ij·[label of i is l] / Σ_i T_ij·[i has a label]      per set (eq. 2.3)
    p_j = mean_i T_ij                                    (eq. 2.4)
    T_ij ∝ p_j·Π over the sets that label i of π_j,label (eq. 2.5)

    Runs on the CPU in float64: sums on a GPU may differ from run to run. Two sets or fewer do not determine the model;
    one set's posterior is its labels.

    Args:
        labels: per set int64 N, class ids.
        masks: per set bool N, true where there is a label.
        classes: K.
        iterations: at most so many; 0 leaves the shares of votes.
    """
    labels, masks = [each.cpu() for each in labels], [each.cpu() for each in masks]
    firsts, pattern, counts = _patterns(labels, masks, classes)
    votes = torch.stack(
        [_indicators(said[firsts], mask[firsts], classes) for said, mask in zip(labels, masks, strict=True)]
    )
    count = votes.sum(dim=(0, 2))
    present = count > 0
    given, weights = votes[:, present], counts[present]
    posterior = given.sum(dim=0) / count[present, None]
    prior, confusion = _estimates(given, posterior, weights)
    likelihoods: list[float] = []
    for _ in range(iterations):
        joint = prior.log() + (given @ confusion.clamp(min=SMALLEST).log().mT).sum(dim=0)
        total = joint.logsumexp(dim=1, keepdim=True)
        posterior = (joint - total).exp()
        prior, confusion = _estimates(given, posterior, weights)
        likelihoods.append((weights @ total / weights.sum()).item() if len(total) else 0.0)
        if len(likelihoods) > 1 and likelihoods[-1] - likelihoods[-2] < TOLERANCE:
            break
    right = (given * posterior).sum(dim=2) @ weights
    labelled = given.sum(dim=2) @ weights
    whole = prior.expand(len(present), classes).clone()
    whole[present] = posterior
    rates = torch.where(labelled > 0, 1 - right / labelled.clamp(min=1), 0).clamp(min=0)
    return Consensus(whole[pattern], prior, confusion, rates, tuple(likelihoods))


def _patterns(labels: Sequence[Tensor], masks: Sequence[Tensor], classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Samples with the same labels in all sets are one sample for EM, which is what makes millions quick.

    Returns:
        P places of one sample each of every pattern; N, each sample's pattern; float64 P, how many samples have it.
    """
    code, numbers = torch.zeros(len(labels[0]), dtype=torch.int64), 1
    for given, mask in zip(labels, masks, strict=True):
        if numbers * (classes + 1) > MOST_PATTERNS:
            # no more numbers than samples, in the same order, so that patterns come as they would without it
            occurring, code = code.unique(return_inverse=True)
            numbers = len(occurring)
        code = code * (classes + 1) + torch.where(mask, given + 1, 0)
        numbers *= classes + 1
    _, pattern, counts = code.unique(return_inverse=True, return_counts=True)
    firsts = torch.empty(len(counts), dtype=torch.int64).scatter_(0, pattern, torch.arange(len(code)))
    return firsts, pattern, counts.double()


def posterior_of(model: Consensus, labels: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """The probability of each class for further samples of the same sets: one E-step (eq. 2.5), float64 N×K.

    Args:
        model: of the sets.
        labels: per set int64 N, class ids.
        masks: per set bool N, true where there is a label; a sample without any gets the prior.
    """
    joint = model.prior.log().expand(len(labels[0]), -1).clone()
    for logs, given, mask in zip(model.confusion.clamp(min=SMALLEST).log(), labels, masks, strict=True):
        joint += logs.T[given.cpu()] * mask.cpu()[:, None]
    return joint.softmax(dim=1)


def _indicators(labels: Tensor, mask: Tensor, classes: int) -> Tensor:
    """N×K, 1 at each sample's label; a row of zeros where it is missing."""
    hot = torch.nn.functional.one_hot(labels, classes)
    return (hot * mask[:, None]).double()


def _estimates(votes: Tensor, posterior: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The M-step: the prior K and each set's confusion S×K×K, from patterns with so many samples each."""
    weighed = posterior * weights[:, None]
    joint = weighed.T @ votes
    prior = weighed.sum(dim=0) / weights.sum().clamp(min=1)
    return prior, joint / joint.sum(dim=2, keepdim=True).clamp(min=torch.finfo(joint.dtype).tiny)
