"""Where the face of a picture is: MTCNN in batches, and the choice of one face where there are several."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..images.align import Eyes
from ..images.decode import largest_shrink

if TYPE_CHECKING:
    from PIL import Image

Array = np.ndarray[Any, Any]

DETECTION_SIDE = 640
"""Pictures are searched at this width or height, whichever is larger, where they have more."""

MIN_FACE = 20
"""The smallest face that is looked for, in pixels of the picture that is searched: 1/32 of a large photograph."""

FIRST_SHARE = 5
"""At first only faces of at least this part (a fifth) of the picture's shorter side are looked for."""

BORDER_SHARE = 8
"""In the second search a grey border of this part (an eighth) of the shorter side lies around the picture, so that a
face that is as large as its picture, or larger, is found as well."""

SURE = 0.9
"""A face with a lower score is taken only where there is none with a higher one."""

BATCH_PIXELS = 2**21
"""The most pixels in one batch of the detector (32 pictures of 256×256): what bounds its memory."""

_GREY = (127, 127, 127)  # what the networks see as zero
_LEFT_EYE, _RIGHT_EYE = 0, 1  # of MTCNN's five points, as seen in the picture


@dataclass(frozen=True)
class Face:
    """A face in a picture, in pixels of the upright full-size picture counted from its upper left corner.

    Attributes:
        box: (left, top, right, bottom); it may reach over the picture's edges. None where nobody said.
        score: the detector's confidence, 0 to 1; None where the face comes from a dataset.
        eyes: what it is aligned by.
    """

    box: tuple[float, float, float, float] | None
    score: float | None
    eyes: Eyes


@dataclass(frozen=True)
class _Choice:
    """The best face of a picture, in pixels of the picture that was searched, and for how much it counts."""

    box: Array
    score: float
    eyes: Array
    weight: float


def detection_shrink(width: int, height: int) -> int:
    """The reduction, 1, 2, 4 or 8, at which a picture may be decoded to be searched: the largest that leaves at least
    `DETECTION_SIDE` pixels in its longer direction."""
    return largest_shrink(max(width, height) / DETECTION_SIDE)


class Detector:
    """Finds the face of each picture by MTCNN (Zhang et al., 2016; facenet-pytorch's networks and weights).

    Args:
        device: `cpu` or `cuda`.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)

    def detect(self, images: Sequence[Image.Image], widths: Sequence[int]) -> list[Face | None]:
        """The face of each picture, None where there is none.

        Of several faces the largest one nearest the centre is taken: a face's width (the root of its box's area)
        counts in full in the middle of the picture, half in a corner, and in proportion between; faces with a score
        under `SURE` stand back behind the others.

        Pictures of the same size are searched together. Large faces are looked for first, which takes a fraction of
        the time. A picture is searched once more, for all faces from `MIN_FACE` on, unless the one that was found
        counts for more than any smaller face could.

        Args:
            images: in RGB, upright, perhaps decoded smaller than they are.
            widths: the width of each full-size picture.
        """
        pictures = [_searchable(image) for image in images]
        chosen: dict[int, _Choice | None] = {}
        for part in _batches(pictures, range(len(pictures))):
            smallest = max(MIN_FACE, min(pictures[part[0]].size) // FIRST_SHARE)
            found = self._search([pictures[index] for index in part], smallest)
            chosen |= {index: face for index, face in zip(part, found, strict=True) if _is_final(face, smallest)}
        for part in _batches(pictures, [index for index in range(len(pictures)) if index not in chosen]):
            border = min(pictures[part[0]].size) // BORDER_SHARE
            chosen |= zip(part, self._search([pictures[index] for index in part], MIN_FACE, border), strict=True)
        scales = [width / picture.width for width, picture in zip(widths, pictures, strict=True)]
        return [_in_full_size(chosen[index], scale) for index, scale in enumerate(scales)]

    @cached_property
    def _network(self) -> Any:
        from facenet_pytorch import MTCNN

        # pictures come as rows of pixels: convolution and pooling are half as fast again where they stay so
        return MTCNN(keep_all=True, device=self.device).eval().to(memory_format=torch.channels_last)

    def _search(self, pictures: Sequence[Image.Image], smallest: int, border: int = 0) -> list[_Choice | None]:
        """The best face of each of some pictures of the same size.

        Args:
            pictures: of the same size.
            smallest: the smallest face that is looked for, in pixels.
            border: width of the grey border that is put around them.
        """
        from PIL import ImageOps

        width, height = pictures[0].size
        if min(width, height) + 2 * border < smallest:
            return [None] * len(pictures)
        framed = [ImageOps.expand(picture, border, _GREY) if border else picture for picture in pictures]
        self._network.min_face_size = smallest
        choices: list[_Choice | None] = []
        for boxes, scores, points in zip(*self._found(framed), strict=True):
            if boxes is None:
                choices.append(None)
            else:
                boxes, scores, points = (np.array(each, np.float64) for each in (boxes, scores, points))
                choices.append(_best(boxes - border, scores, points - border, (width, height)))
        return choices

    def _found(self, pictures: Sequence[Image.Image]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """MTCNN's boxes (n×4), scores (n) and points (n×5×2) of each picture, or None."""
        try:
            found: tuple[Any, Any, Any] = self._network.detect(list(pictures), landmarks=True)
            return found
        except IndexError:
            # The library miscounts where one of its candidates lies outside the picture; the other pictures are fine.
            if len(pictures) == 1:
                return [None], [None], [None]
            parts = [self._found([picture]) for picture in pictures]
            boxes, scores, points = zip(*parts, strict=True)
            return [each[0] for each in boxes], [each[0] for each in scores], [each[0] for each in points]


def _searchable(image: Image.Image) -> Image.Image:
    """The picture, made smaller where it is larger than it is searched."""
    from PIL import Image

    scale = DETECTION_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX)


def _batches(pictures: Sequence[Image.Image], indices: Iterable[int]) -> Iterator[list[int]]:
    """Indices of pictures of one size, in batches of at most `BATCH_PIXELS`."""
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index in indices:
        by_size[pictures[index].size].append(index)
    for (width, height), group in by_size.items():
        length = max(1, BATCH_PIXELS // (width * height))
        for start in range(0, len(group), length):
            yield group[start : start + length]


def _best(boxes: Array, scores: Array, points: Array, size: tuple[int, int]) -> _Choice:
    half = np.array(size) / 2
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distances = np.minimum(np.hypot(*(centres - half).T) / math.hypot(*half), 1)
    weights = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) * (1 - distances / 2)
    standing = np.where((scores >= SURE) | (scores < SURE).all(), weights, -1)
    best = int(standing.argmax())
    eyes = points[best, [_LEFT_EYE, _RIGHT_EYE]].ravel()
    return _Choice(boxes[best], float(scores[best]), eyes, float(weights[best]))


def _is_final(face: _Choice | None, smallest: int) -> bool:
    """Whether no face smaller than those that were looked for could be chosen in its place."""
    return face is not None and face.score >= SURE and face.weight >= smallest


def _in_full_size(face: _Choice | None, scale: float) -> Face | None:
    if face is None:
        return None
    # rounded as a manifest keeps them, so that whoever aligns by the manifest sees the same pixels
    left, top, right, bottom = (face.box * scale).astype(np.float32).tolist()
    left_x, left_y, right_x, right_y = (face.eyes * scale).astype(np.float32).tolist()
    return Face((left, top, right, bottom), face.score, (left_x, left_y, right_x, right_y))
