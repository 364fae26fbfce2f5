"""Processes that train one method together, each on its rows of every batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn


class Peers(Protocol):
    """The processes that share every batch of B samples: each has B/n of them, in the order of their ranks.

    Losses such as masked means and CCC are no means of each process's loss. So the networks' small outputs are gathered
    and every process computes the whole batch's loss, the same number everywhere. Its gradient flows back into a
    process's own rows only, and the parameters' gradients, which are sums over rows, are added up over the processes:
    together exactly the gradients of one process with the whole batch. Random numbers are drawn for the whole batch by
    every process from the same seed, and each takes those of its rows.

    Attributes:
        rank: of this process, 0 to n − 1.
        size: n.
    """

    rank: int
    size: int

    def own(self, whole: Tensor, dim: int = 0) -> Tensor:
        """This process's rows of a tensor that has the whole batch's B along `dim`."""

    def gather(self, rows: Tensor) -> Tensor:
        """All processes' B/n rows as B, with gradients: for losses that every process computes from all rows."""

    def average(self, values: Tensor) -> Tensor:
        """Mean over processes, with gradients of all their losses: for statistics that each uses for its own rows."""

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient that is there by its sum over processes; the same ones must be there on all of them."""

    def wait(self) -> None:
        """Return when all processes have come here."""


class Alone:
    """One process that has every batch for itself."""

    rank = 0
    size = 1

    def own(self, whole: Tensor, dim: int = 0) -> Tensor:
        """All rows."""
        return whole

    def gather(self, rows: Tensor) -> Tensor:
        """The rows as they are."""
        return rows

    def average(self, values: Tensor) -> Tensor:
        """The values as they are."""
        return values

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Nothing is to be added."""

    def wait(self) -> None:
        """Nobody is waited for."""


ALONE = Alone()
