"""Batches of decoded images by index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import unknown_name
from ..core.streams import rng
from ..manifest import Labels
from ..models.methods import Batch
from .augment import AUGMENTATIONS
from .data import SplitData
from .shuffle import SHUFFLES, ReadAhead, block_order, mapping
from .staging import Staging

Array = np.ndarray[Any, Any]


class Feed:
    """Batches by index from one split: no per-image Python, no worker processes, augmentation on the device.

    Args:
        data: the split.
        device: where batches go. The images live there too when they are small against its memory.
        augment: what is done to training images: `none`, `crop-flip` or `affine`.
        rows: positions in the split that are handed out; None for all. The others are not copied.
        shuffle: `full`, or `blocks` for images that are larger than memory; see `shuffle.block_order`.

    Raises:
        UserError: an unknown augmentation or way to shuffle.
    """

    def __init__(
        self,
        data: SplitData,
        device: torch.device,
        *,
        augment: str = "none",
        rows: Array | None = None,
        shuffle: str = "full",
    ) -> None:
        if augment not in AUGMENTATIONS:
            raise unknown_name("augmentation", augment, AUGMENTATIONS)
        if shuffle not in SHUFFLES:
            raise unknown_name("shuffle", shuffle, SHUFFLES)
        self.shuffle = shuffle
        self.device = device
        self.augmentation = AUGMENTATIONS[augment]
        self.rows = None if rows is None else torch.from_numpy(np.asarray(rows, np.int64))
        images = torch.from_numpy(np.asarray(data.images)) if data.images.flags.writeable else _shared(data.images)
        # chosen rows lie anywhere in the file: their pages are read when they are needed
        self._mapped = data.images if rows is None and mapping(data.images) is not None else None
        self.images = images.to(device) if device.type == "cuda" and _fits(images, device) else images
        self._staging = Staging(device) if device.type == "cuda" and self.images.device.type == "cpu" else None
        self.labels = {name: self._chosen(labels.values).to(device) for name, labels in data.labels.items()}
        self.masks = {name: self._chosen(labels.present).to(device) for name, labels in data.labels.items()}

    def __len__(self) -> int:
        return len(self.images) if self.rows is None else len(self.rows)

    def epoch(
        self,
        seed: int,
        epoch: int,
        batch_size: int,
        weights: Array | None = None,
        *,
        rank: int = 0,
        size: int = 1,
    ) -> Iterator[Batch]:
        """One epoch's batches in the random order of (seed, epoch); a last batch of a single sample is left out.

        Args:
            seed: of the run.
            epoch: counted from 0.
            batch_size: images per batch, those of all processes together.
            weights: how often each sample is to be drawn, in any unit; None for every sample once. With weights an
                epoch has as many draws as there are samples, with replacement.
            rank: of the process, 0 to size − 1; it gets its own part of each batch.
            size: processes; they share a batch equally, so up to size − 1 samples of the last one are left out.
        """
        stream = rng(seed, "epoch", epoch)
        count = len(self)
        for indices in self._drawn(stream, batch_size, weights):
            if len(indices) < 2 <= count:
                return  # a single sample has no batch statistics
            part = len(indices) // size
            if not part:
                return
            batch = self._batch(indices[rank * part : (rank + 1) * part])
            if self.augmentation is None:
                yield batch
            else:
                images = self.augmentation(batch.images, stream, rank, size)
                yield Batch(images, batch.labels, batch.masks, batch.indices)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All samples in their order, without augmentation."""
        for start in range(0, len(self), batch_size):
            yield self._batch(torch.arange(start, min(start + batch_size, len(self))), in_order=True)

    @staticmethod
    def steps(samples: int, batch_size: int, size: int = 1) -> int:
        """Batches in an epoch of so many samples, shared by so many processes."""
        full, rest = divmod(samples, batch_size)
        return full + (rest >= size and (rest > 1 or samples == 1))

    def _drawn(self, stream: np.random.Generator, batch_size: int, weights: Array | None) -> Iterator[Tensor]:
        """An epoch's positions, a batch at a time."""
        count = len(self)
        if weights is not None:
            order = stream.choice(count, count, p=weights / weights.sum())
        elif self.shuffle == "full":
            order = stream.permutation(count)
        else:
            plan = block_order(count, self.images[:1].nbytes, stream)
            yield from ReadAhead(self._mapped, plan).batches(batch_size)
            return
        yield from torch.from_numpy(order).split(batch_size)

    def _batch(self, indices: Tensor, *, in_order: bool = False) -> Batch:
        if in_order and self.rows is None and len(indices):  # a view: nothing is gathered
            images = self.images[int(indices[0]) : int(indices[-1]) + 1].to(self.device, non_blocking=True)
        else:
            images = self._gather(indices if self.rows is None else self.rows[indices])
        indices = indices.to(self.device)
        labels = {name: values[indices] for name, values in self.labels.items()}
        masks = {name: mask[indices] for name, mask in self.masks.items()}
        # stored as B×S×S×3: the permuted view is B×3×S×S in channels_last layout already
        return Batch(images.permute(0, 3, 1, 2), labels, masks, indices)

    def _gather(self, places: Tensor) -> Tensor:
        # index_select copies whole rows, 6 to 10 times as fast on a CPU as indexing, which goes element by element
        if self._staging is not None:
            return self._staging.gather(self.images, places)
        return self.images.index_select(0, places.to(self.images.device))

    def _chosen(self, values: Array) -> Tensor:
        found = torch.from_numpy(np.ascontiguousarray(values))
        return found if self.rows is None else found[self.rows]


def class_weights(labels: Labels) -> Array:
    """Weights with which every class is drawn equally often: 1 / (its samples); samples without a label get the mean.

    Args:
        labels: N class ids, at least one of them there.
    """
    counts = np.bincount(labels.values[labels.present])
    weights = 1 / np.maximum(counts, 1)[np.where(labels.present, labels.values, 0)]
    return np.where(labels.present, weights, weights[labels.present].mean())


def _shared(images: Array) -> Tensor:
    # torch has no read-only tensors and warns about a read-only memory map; nothing here writes to the images
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)


def _fits(images: Tensor, device: torch.device) -> bool:
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes < free / 4
