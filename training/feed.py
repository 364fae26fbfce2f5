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

Array = np.ndarray[Any, Any]


class Feed:
    """Batches by index from one split: no per-image Python, no worker processes, augmentation on the device.

    Args:
        data: the split.
        device: where batches go. The images live there too when they are small against its memory.
        augment: what is done to training images: `none`, `crop-flip` or `affine`.
        rows: positions in the split that are handed out; None for all. The others are not copied.

    Raises:
        UserError: an unknown augmentation.
    """

    def __init__(
        self, data: SplitData, device: torch.device, *, augment: str = "none", rows: Array | None = None
    ) -> None:
        if augment not in AUGMENTATIONS:
            raise unknown_name("augmentation", augment, AUGMENTATIONS)
        self.device = device
        self.augmentation = AUGMENTATIONS[augment]
        self.rows = None if rows is None else torch.from_numpy(np.asarray(rows, np.int64))
        images = torch.from_numpy(np.asarray(data.images)) if data.images.flags.writeable else _shared(data.images)
        self.images = images.to(device) if device.type == "cuda" and _fits(images, device) else images
        self.labels = {name: self._chosen(labels.values).to(device) for name, labels in data.labels.items()}
        self.masks = {name: self._chosen(labels.present).to(device) for name, labels in data.labels.items()}

    def __len__(self) -> int:
        return len(self.images) if self.rows is None else len(self.rows)

    def epoch(self, seed: int, epoch: int, batch_size: int, weights: Array | None = None) -> Iterator[Batch]:
        """One epoch's batches in the random order of (seed, epoch); a last batch of a single sample is left out.

        Args:
            seed: of the run.
            epoch: counted from 0.
            batch_size: images per batch.
            weights: how often each sample is to be drawn, in any unit; None for every sample once. With weights an
                epoch has as many draws as there are samples, with replacement.
        """
        stream = rng(seed, "epoch", epoch)
        count = len(self)
        drawn = stream.permutation(count) if weights is None else stream.choice(count, count, p=weights / weights.sum())
        for indices in torch.from_numpy(drawn).split(batch_size):
            if len(indices) < 2 <= count:
                return  # a single sample has no batch statistics
            batch = self._batch(indices)
            if self.augmentation is None:
                yield batch
            else:
                images = self.augmentation(batch.images, stream)
                yield Batch(images, batch.labels, batch.masks, batch.indices)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All samples in their order, without augmentation."""
        for indices in torch.arange(len(self)).split(batch_size):
            yield self._batch(indices)

    @staticmethod
    def steps(samples: int, batch_size: int) -> int:
        """Batches in an epoch of so many samples."""
        full, rest = divmod(samples, batch_size)
        return full + (rest > 1 or samples == 1)

    def _batch(self, indices: Tensor) -> Batch:
        places = indices if self.rows is None else self.rows[indices]
        images = self.images[places.to(self.images.device)].to(self.device, non_blocking=True)
        indices = indices.to(self.device)
        labels = {name: values[indices] for name, values in self.labels.items()}
        masks = {name: mask[indices] for name, mask in self.masks.items()}
        # stored as B×S×S×3: the permuted view is B×3×S×S in channels_last layout already
        return Batch(images.permute(0, 3, 1, 2), labels, masks, indices)

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
