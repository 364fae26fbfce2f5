"""How much of all label sets is wrong, told without clean labels as soon as something tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from .noise_rate import agreement_tells, rate_from_losses, rates_from_agreement

if TYPE_CHECKING:
    from .methods.base import LabelSetSpec, TrainingSet

ASSUMED_RATE = 0.3
"""The share of wrong labels while nothing tells it, and where no set is categorical: our choice."""

ESTIMATION_EPOCH = 2
"""The earliest epoch, counted from 0, before which losses tell a rate: a network knows nothing at first."""

LATEST_EPOCH = 10
"""The epoch, counted from 0, before which they tell it in any case: in later ones wrong labels are learned."""


LossesOfSets = Callable[[Iterable[str]], Mapping[str, tuple[Tensor, Tensor]]]


class SetRates:
    """Each categorical label set's share of wrong labels, and the mean of these.

    Sets of one task are told by their agreement, before training, where any two of them label common samples. Any
    other set is told by the losses of its own labels, once, before the epoch in which they are first needed or a later
    one, when something has been learned: not before `ESTIMATION_EPOCH`, and anyway at `LATEST_EPOCH`. A set without
    any label has no rate.

    Args:
        sets: the label sets; those of valence and arousal are left out.
        needed: the epoch, counted from 0, from which the rates are used.
    """

    def __init__(self, sets: Sequence[LabelSetSpec], needed: int) -> None:
        self.sets = [label_set for label_set in sets if not label_set.continuous]
        self.estimated = max(needed, ESTIMATION_EPOCH)
        self.labelled: list[str] = []
        self.rates: dict[str, float] = {}

    @property
    def mean(self) -> float:
        """The mean of the rates that are known; `ASSUMED_RATE` while there is none."""
        return sum(self.rates.values()) / len(self.rates) if self.rates else ASSUMED_RATE

    def compare(self, training: TrainingSet) -> None:
        """Find out which sets have labels, and the rates of those whose agreement tells them."""
        found = [each for each in self.sets if bool(training.masks[each.name].any())]
        self.labelled = [each.name for each in found]
        for task in dict.fromkeys(each.task for each in found):
            names = [each.name for each in found if each.task == task]
            classes = next(each.width for each in found if each.task == task)
            masks = [training.masks[name] for name in names]
            if agreement_tells(masks):
                rates = rates_from_agreement([training.labels[name] for name in names], masks, classes)
                self.rates |= dict(zip(names, rates.tolist(), strict=True))

    def start_epoch(self, epoch: int, losses: LossesOfSets) -> None:
        """Before each epoch: where it is time, tell the rates that are still unknown by losses.

        Args:
            epoch: counted from 0.
            losses: of sets' names, by name the losses of all the training samples that the set labels, and the labels.
        """
        unknown = [name for name in self.labelled if name not in self.rates]
        if unknown and epoch >= self.estimated:
            anyway = epoch >= LATEST_EPOCH
            told = {name: rate_from_losses(*found, anyway) for name, found in losses(unknown).items()}
            self.rates |= {name: rate for name, rate in told.items() if rate is not None}
