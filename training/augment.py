"""Augmentation of whole batches on the device they are on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

CROP_PADDING = 4
"""Zero pixels added on each side before a random crop (the usual augmentation of CIFAR-10)."""

ROTATION = 10.0
"""Largest angle in degrees, either way."""

SHIFT = 0.1
"""Largest translation as a share of the side, either way and on both axes; the authors' code has 10 of 64 pixels."""

ZOOM = (0.9, 1.1)

Augmentation = Callable[[Tensor, np.random.Generator, int, int], Tensor]
"""Images, a random stream, and which part (of how many) of a batch they are: numbers are drawn for the whole batch."""


def crop_flip(images: Tensor, stream: np.random.Generator, part: int = 0, parts: int = 1) -> Tensor:
    """Random crops of the zero-padded images, half of them mirrored; see `crop_and_flip`."""
    count, own = _own(images, part, parts)
    tops, lefts = torch.from_numpy(stream.integers(0, 2 * CROP_PADDING + 1, size=(2, count)))[:, own]
    flips = torch.from_numpy(stream.integers(0, 2, size=count)).bool()[own]
    return crop_and_flip(images, tops.to(images.device), lefts.to(images.device), flips.to(images.device))


def affine(images: Tensor, stream: np.random.Generator, part: int = 0, parts: int = 1) -> Tensor:
    """Random rotation, translation, zoom and mirroring, the usual augmentation of aligned faces; see `transformed`."""
    count, own = _own(images, part, parts)
    angles = stream.uniform(-ROTATION, ROTATION, count)
    shifts = stream.uniform(-SHIFT, SHIFT, (count, 2))
    zooms = stream.uniform(*ZOOM, count)
    flips = stream.integers(0, 2, count).astype(bool)
    return transformed(images, source_matrices(angles[own], shifts[own], zooms[own], flips[own]))


def _own(images: Tensor, part: int, parts: int) -> tuple[int, slice]:
    """Images of the whole batch, and the places of these in it."""
    count = len(images)
    return count * parts, slice(part * count, (part + 1) * count)


AUGMENTATIONS: dict[str, Augmentation | None] = {"none": None, "crop-flip": crop_flip, "affine": affine}
"""By the name that a configuration has for it."""


def crop_and_flip(images: Tensor, tops: Tensor, lefts: Tensor, flips: Tensor) -> Tensor:
    """Crop each zero-padded image at its own place and mirror some, whole rows of pixels at a time.

    Args:
        images: uint8 B×3×S×S.
        tops: B, first row of the crop in the image padded by `CROP_PADDING`, 0 to 2·`CROP_PADDING`.
        lefts: B, first column, likewise.
        flips: B, true to mirror left and right.
    """
    count, size = len(images), images.shape[-1]
    padded = functional.pad(images, [CROP_PADDING] * 4).permute(0, 2, 3, 1)
    width = padded.shape[2]
    # every pixel is the corner of a window of S rows with 3·S numbers each: overlapping views, of which index_select
    # copies rows, where an index a pixel would go element by element
    span = (size - 1) * width + size
    windows = padded.flatten().unfold(0, 3 * span, 3).unfold(1, 3 * size, 3 * width)
    samples = torch.arange(count, device=images.device)
    crops = windows.index_select(0, (samples * width + tops) * width + lefts).view(count, size, size, 3)
    both = torch.cat([crops, crops.flip(2)])
    return both.index_select(0, samples + count * flips).permute(0, 3, 1, 2)


def source_matrices(
    angles: np.ndarray[tuple[int], np.dtype[np.float64]],
    shifts: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    zooms: np.ndarray[tuple[int], np.dtype[np.float64]],
    flips: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> Tensor:
    """For each image the 2×3 matrix that maps a place of the result to the place it comes from.

    The picture is mirrored, turned about its centre, zoomed and then moved; coordinates are from −1 to 1 between the
    outer edges of the picture, x to the right and y down.

    Args:
        angles: B, degrees, clockwise as seen.
        shifts: B×2, to the right and down, as a share of the side.
        zooms: B, above 0; 2 shows everything twice as large.
        flips: B, true to mirror left and right.

    Returns:
        float32 B×2×3.
    """
    turns = np.deg2rad(angles)
    cos, sin = np.cos(turns) / zooms, np.sin(turns) / zooms
    linear = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1)  # the inverse of turn and zoom
    linear[:, 0] *= np.where(flips, -1.0, 1.0)[:, None]
    offset = -np.einsum("bij,bj->bi", linear, 2 * shifts)
    return torch.from_numpy(np.concatenate([linear, offset[:, :, None]], 2)).float()


def transformed(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample each image by its own affine map, bilinear, with zeros outside, all in one call.

    Args:
        images: uint8 B×3×S×S.
        matrices: B×2×3, from places of the result to places of the image; see `source_matrices`.

    Returns:
        uint8 B×3×S×S, rounded.
    """
    pixels = images.to(torch.float32, memory_format=torch.channels_last)
    places = functional.affine_grid(matrices.to(images.device), list(images.shape), align_corners=False)
    sampled = functional.grid_sample(pixels, places, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.round_().clamp_(0, 255).to(torch.uint8, memory_format=torch.channels_last)
