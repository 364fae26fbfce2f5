"""Who looks on while a run goes its way, from the same process or from another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..training.parallel import Channel

if TYPE_CHECKING:
    from .run import Plan


class Watcher(Protocol):
    """Someone who looks on: a progress bar, a log, a test."""

    def started(self, plan: Plan, epochs_done: int) -> None:
        """Training is about to begin, or to go on after so many epochs."""

    def decoding(self, split: str, done: int, total: int) -> None:
        """So many images of a split are decoded."""

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """A step of an epoch (both from 1) is done."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is done and recorded."""


class Messages:
    """A watcher in the first of several processes, for the one that started them."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def started(self, plan: Plan, epochs_done: int) -> None:
        """Say that a run begins, or goes on."""
        self.channel.put(("started", epochs_done))

    def decoding(self, split: str, done: int, total: int) -> None:
        """Say how far a split is decoded."""
        self.channel.put(("decoding", split, done, total))

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Say that a step is done."""
        self.channel.put(("step", epoch, step, steps, loss))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Say that an epoch is done."""
        self.channel.put(("epoch", dict(row)))


def passing_on(plan: Plan, watcher: Watcher | None) -> Callable[[Any], None]:
    """Tells a watcher what `Messages` of another process say."""

    def heed(message: Any) -> None:
        name, *values = message
        if watcher is not None:
            getattr(watcher, name)(*((plan,) if name == "started" else ()), *values)

    return heed
