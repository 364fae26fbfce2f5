"""Batches of images from the host's memory to a CUDA device, copied while the device computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

BUFFERS = 2
"""One is filled while the other is copied."""


class Event(Protocol):
    """What is used of `torch.cuda.Event`."""

    def record(self) -> None:
        """Mark the work that has been started so far."""

    def synchronize(self) -> None:
        """Wait for what was marked last; at once where nothing was."""


class Staging:
    """Gathers rows into page-locked buffers, in turn, and starts their copies to the device without waiting for them.

    A buffer is written again only when the copy that was started from it has ended: an event says so.

    Args:
        device: a CUDA device.
        pinned: makes a page-locked tensor of a shape and type.
        event: makes an event of the device's current stream.
        send: starts a copy from a page-locked tensor to the device.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        pinned: Callable[[torch.Size, torch.dtype], Tensor] | None = None,
        event: Callable[[], Event] | None = None,
        send: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._pinned = pinned or (lambda shape, dtype: torch.empty(shape, dtype=dtype, pin_memory=True))
        self._event = event or torch.cuda.Event
        self._send = send or (lambda rows: rows.to(device, non_blocking=True))
        self._buffers: list[tuple[Tensor, Event] | None] = [None] * BUFFERS
        self._turn = 0

    def gather(self, images: Tensor, places: Tensor) -> Tensor:
        """The rows `places` (B positions) of `images` (N×…, on the host), on the device.

        The copy may still be going on; work on the device's current stream comes after it by itself.
        """
        buffer, copied = self._free(torch.Size((len(places), *images.shape[1:])), images.dtype)
        rows = torch.index_select(images, 0, places, out=buffer[: len(places)])
        moved = self._send(rows)
        copied.record()
        return moved

    def _free(self, shape: torch.Size, dtype: torch.dtype) -> tuple[Tensor, Event]:
        """The buffer whose turn it is, at least so large, when nothing is copied from it any more."""
        held = self._buffers[self._turn]
        if held is not None:
            held[1].synchronize()
        if held is None or len(held[0]) < shape[0] or held[0].shape[1:] != shape[1:] or held[0].dtype != dtype:
            held = self._pinned(shape, dtype), self._event()
        self._buffers[self._turn] = held
        self._turn = (self._turn + 1) % BUFFERS
        return held
