"""From a picture and its eyes to the aligned face: one similarity transform for every source, teacher and method.

Coordinates are counted from the picture's upper left corner, so that the centre of its first pixel is (0.5, 0.5) and a
picture of half the size has half the coordinates.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .decode import UnreadableImage, decode_rgb, decode_whole, largest_shrink, to_pixels

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]

Eyes = tuple[float, float, float, float]
"""The eye centres, (left x, left y, right x, right y), left and right as seen in the picture."""

EYE_LEFT = 0.3
EYE_RIGHT = 0.7
EYE_HEIGHT = 0.3
"""Where the eye centres come to lie, as shares of the aligned face's side."""

_EYE_DISTANCE = EYE_RIGHT - EYE_LEFT
_MARGIN = 3  # pixels around the face that the bicubic filter looks at, rounded up


def shrink_for(eyes: Eyes, size: int) -> int:
    """The largest reduction, 1, 2, 4 or 8, at which a picture may be decoded for this face.

    What is decoded has at least as many pixels between the eyes as the aligned face.

    Args:
        eyes: in pixels of the full-size picture.
        size: side of the aligned face.
    """
    return largest_shrink(_scale(eyes, size))


def aligned(image: Image.Image, eyes: Eyes, size: int, shrink: int = 1, reference: str = "") -> Pixels:
    """Cut out a face: eyes level, their centres at 0.3 and 0.7 of the width and 0.3 of the height.

    One similarity transform (turn, scale, shift; no shear, no mirror) with Pillow's bicubic interpolation, black where
    the picture ends. The interpolation looks at 4×4 pixels, too few where a pixel of the face covers several of
    the picture: there the picture is first averaged over blocks of k×k pixels, with the largest k that leaves at
    least the resolution of the face.

    Args:
        image: the picture in RGB, decoded at `shrink`.
        eyes: in pixels of the upright full-size picture.
        size: side of the result.
        shrink: the reduction at which `image` was decoded.
        reference: names the picture in errors.

    Returns:
        size×size×3.

    Raises:
        UnreadableImage: with the status `bad_landmarks`, for eyes that no face in this picture can have.
    """
    from PIL import Image

    _check(eyes, image.width * shrink, image.height * shrink, reference)
    left_x, left_y, right_x, right_y = (value / shrink for value in eyes)
    # the picture's point of the face's point (u, v) is (a·u − b·v + c, b·u + a·v + f)
    a, b = (right_x - left_x) / (_EYE_DISTANCE * size), (right_y - left_y) / (_EYE_DISTANCE * size)
    c = left_x - (a * EYE_LEFT - b * EYE_HEIGHT) * size
    f = left_y - (b * EYE_LEFT + a * EYE_HEIGHT) * size
    block = int(math.hypot(a, b))
    if block > 1:
        image, left, top = _averaged(image, block, (a, b, c, f), size)
        a, b, c, f = a / block, b / block, c / block - left, f / block - top
    face = image.transform((size, size), Image.Transform.AFFINE, (a, -b, c, b, a, f), Image.Resampling.BICUBIC)
    return np.array(face)


def read_face(source: Path | bytes | Pixels, reference: str, eyes: Eyes | None, size: int) -> Pixels:
    """One picture as a network sees it: its aligned face, or all of it.

    Args:
        source: the file's path or bytes, or decoded pixels (H×W×3).
        reference: names the picture in errors.
        eyes: in pixels of the upright picture; None for the whole picture, resized without keeping its aspect.
        size: side of the result.

    Returns:
        size×size×3.

    Raises:
        UnreadableImage: the picture cannot be read, or the eyes cannot be in it.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        if eyes is None and source.shape[:2] == (size, size):
            return source
        picture = Image.fromarray(source)
        return to_pixels(picture, size) if eyes is None else aligned(picture, eyes, size, 1, reference)
    if eyes is None:
        return decode_whole(source, reference, size)
    shrink = shrink_for(eyes, size)
    return aligned(decode_rgb(source, reference, shrink), eyes, size, shrink, reference)


def _scale(eyes: Eyes, size: int) -> float:
    """How many pixels of the picture, in width, one of the aligned face stands for."""
    return math.hypot(eyes[2] - eyes[0], eyes[3] - eyes[1]) / (_EYE_DISTANCE * size)


def _averaged(
    image: Image.Image, block: int, transform: tuple[float, float, float, float], size: int
) -> tuple[Image.Image, int, int]:
    """The part of the picture that the face needs, averaged over blocks; and its corner, counted in blocks."""
    a, b, c, f = transform
    across = [a * u - b * v + c for u in (0, size) for v in (0, size)]
    down = [b * u + a * v + f for u in (0, size) for v in (0, size)]
    left, top = (max(0, math.floor(min(values) / block) - _MARGIN) for values in (across, down))
    right = min(image.width, (math.ceil(max(across) / block) + _MARGIN) * block)
    bottom = min(image.height, (math.ceil(max(down) / block) + _MARGIN) * block)
    return image.reduce(block, (left * block, top * block, right, bottom)), left, top


def _check(eyes: Eyes, width: int, height: int, reference: str) -> None:
    left_x, left_y, right_x, right_y = eyes
    shown = f"({left_x:.4g}, {left_y:.4g}) and ({right_x:.4g}, {right_y:.4g})"
    if not all(map(math.isfinite, eyes)):
        reason = "are not all numbers"
    elif math.hypot(right_x - left_x, right_y - left_y) < 1:
        reason = "are less than a pixel apart"
    elif math.hypot(right_x - left_x, right_y - left_y) > math.hypot(width, height):
        reason = f"are farther apart than the picture of {width}×{height} pixels is large"
    elif not (0 <= (left_x + right_x) / 2 <= width and 0 <= (left_y + right_y) / 2 <= height):
        reason = f"lie outside the picture of {width}×{height} pixels"
    else:
        return
    raise UnreadableImage(
        reference,
        f"its eyes at {shown} {reason}",
        "bad_landmarks",
        "Correct the eye positions in the annotation, or leave the sample out.",
    )
