"""The order of an epoch: all of a split at random, or block by block where the images are larger than memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]

SHUFFLES = ("full", "blocks")

BLOCK_BYTES = 2**20
"""Consecutive images that are read together: large enough for a disk to read at its full rate."""

BUFFER_BYTES = 256 * 2**20
"""What the blocks being drawn from and the blocks being read for later hold together, at most."""

READ_BYTES = 128 * 2**10
"""Asked for at once: Linux cuts a longer request off at what the disk takes in one."""

MEMORY_SHARE = 0.5
"""Images larger than this share of the memory are read block by block; the network and the system need the rest."""


@dataclass(frozen=True)
class BlockOrder:
    """An epoch in blocks of consecutive images.

    Attributes:
        order: N, every position once: window after window, at random within each.
        blocks: the blocks' numbers in the order in which they are read.
        rows: images in a block; the split's last block may have fewer.
        window: blocks that are drawn from together; half of `BUFFER_BYTES`.
    """

    order: Array
    blocks: Array
    rows: int
    window: int


def block_order(count: int, row_bytes: int, stream: np.random.Generator) -> BlockOrder:
    """Blocks in random order, read window by window, the images of a window in random order.

    Images that are neighbours on disk come within one window but not together; which blocks share a window is another
    matter each epoch.

    Args:
        count: images.
        row_bytes: of one image.
        stream: where the order comes from.
    """
    rows = max(1, BLOCK_BYTES // row_bytes)
    window = max(1, BUFFER_BYTES // 2 // (rows * row_bytes))
    blocks = stream.permutation(-(-count // rows))
    parts = []
    for first in range(0, len(blocks), window):
        positions = (blocks[first : first + window, None] * rows + np.arange(rows)).ravel()
        parts.append(stream.permutation(positions[positions < count]))
    return BlockOrder(np.concatenate(parts), blocks, rows, window)


class ReadAhead:
    """Asks the system to read blocks before they are drawn from, one window ahead, while the device computes.

    Args:
        images: N×…, memory-mapped; None where they are not and there is nothing to ask for.
        plan: the order in which they are drawn.
    """

    def __init__(self, images: Array | None, plan: BlockOrder) -> None:
        self._map = mapping(images) if images is not None and hasattr(mmap, "MADV_WILLNEED") else None
        self._plan = plan
        self._asked = 0
        if images is not None and self._map is not None:
            self._row_bytes, self._bytes = images[:1].nbytes, images.nbytes
            self._start = images.ctypes.data - np.frombuffer(self._map, np.uint8).ctypes.data

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """The order, a batch at a time."""
        # a page that has gone again is then read alone: the system would read some MB around it that nobody asked for
        self._advise("MADV_RANDOM")
        try:
            for number, indices in enumerate(torch.from_numpy(self._plan.order).split(batch_size)):
                self.advance(number * batch_size)
                yield indices
        finally:
            self._advise("MADV_NORMAL")

    def advance(self, drawn: int) -> None:
        """Ask for what is not yet asked for of the window that follows the first `drawn` images of the order."""
        plan = self._plan
        wanted = min(len(plan.blocks), -(-drawn // plan.rows) + plan.window)
        if self._map is not None:
            for block in plan.blocks[self._asked : wanted].tolist():
                begin = block * plan.rows * self._row_bytes
                self._ask(self._map, begin, min(begin + plan.rows * self._row_bytes, self._bytes))
        self._asked = max(self._asked, wanted)

    def _ask(self, mapped: mmap.mmap, begin: int, end: int) -> None:
        begin, end = self._start + begin, self._start + end
        for place in range(begin // mmap.PAGESIZE * mmap.PAGESIZE, end, READ_BYTES):
            mapped.madvise(mmap.MADV_WILLNEED, place, min(READ_BYTES, end - place))

    def _advise(self, advice: str) -> None:
        if self._map is not None:
            self._map.madvise(getattr(mmap, advice))


def mapping(images: Array) -> mmap.mmap | None:
    """The memory map that an array of consecutive images lies in, None where it lies in memory."""
    base: object = images if images.flags.c_contiguous else None
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def chosen_shuffle(image_bytes: int) -> Literal["full", "blocks"]:
    """`blocks` for images that are larger than half of the memory, else `full`.

    Args:
        image_bytes: all training images decoded.
    """
    return "blocks" if image_bytes > MEMORY_SHARE * memory() else "full"


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit where that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _group_limits(groups: Path, root: Path) -> list[int]:
    """The limits of this process's control group, of version 1 and 2, and of the root that a container sees."""
    lines = groups.read_text().splitlines() if groups.exists() else []
    files = [root / "memory.max", root / "memory" / "memory.limit_in_bytes"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files.append(root / path.lstrip("/") / "memory.max")
        elif "memory" in controllers.split(","):
            files.append(root / "memory" / path.lstrip("/") / "memory.limit_in_bytes")
    texts = [file.read_text().strip() for file in files if file.exists()]
    return [int(text) for text in texts if text.isdigit()]
