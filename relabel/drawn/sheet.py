"""A sheet of samples: a row an expression, half of it from each dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...core.files import whole_file
from .state import CLASSES
from .worlds import AFFECTNET, RAF, Drawn, World, draw_sample, sample_state

CELL = 80
COLUMNS = 4
"""Samples of each dataset in a row."""

_LABEL = 66
_GAP = 8
_HEAD = 18
_TRIES = 600


def write_sheet(path: Path, seed: int) -> None:
    """Write a PNG with the first training faces of each expression, as they are cut to the face.

    Raises:
        UserError: the file cannot be written.
    """
    width = _LABEL + 2 * COLUMNS * CELL + _GAP
    sheet = Image.new("RGB", (width, _HEAD + len(CLASSES) * CELL), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for number, world in enumerate((RAF, AFFECTNET)):
        left = _LABEL + number * (COLUMNS * CELL + _GAP)
        draw.text((left + 4, 3), f"{world.name} (drawn)", (0, 0, 0), font)
        for label, faces in _by_expression(world, seed).items():
            for column, drawn in enumerate(faces):
                sheet.paste(_cut(drawn), (left + column * CELL, _HEAD + label * CELL))
    for label, name in enumerate(CLASSES):
        draw.text((4, _HEAD + label * CELL + CELL // 2 - 6), name, (0, 0, 0), font)
    with whole_file(path) as temporary:
        sheet.quantize(56, dither=Image.Dither.NONE).save(temporary, format="PNG", optimize=True)


def _by_expression(world: World, seed: int) -> dict[int, list[Drawn]]:
    """The first samples of each true expression; fewer where an expression is rare or does not occur."""
    found: dict[int, list[Drawn]] = {label: [] for label in range(len(CLASSES))}
    for index in range(_TRIES):
        state, unnamed = sample_state(world, seed, "train", index)
        if state is not None and not unnamed and len(found[state.expression]) < COLUMNS:
            found[state.expression].append(draw_sample(world, seed, "train", index))
    return found


def _cut(drawn: Drawn) -> Image.Image:
    """The square around the face, with some hair and background."""
    low, high = drawn.landmarks.min(axis=0), drawn.landmarks.max(axis=0)
    middle, half = (low + high) / 2 - (0, 0.12 * (high[1] - low[1])), 0.8 * float((high - low).max())
    width, height = drawn.image.size
    half = min(half, width / 2, height / 2)
    middle = np.clip(middle, half, np.array([width, height]) - half)
    box = (*(middle - half), *(middle + half))
    return drawn.image.transform((CELL, CELL), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)
