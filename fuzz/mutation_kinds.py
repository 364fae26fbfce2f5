"""The kinds of hostile pictures by name, and what they are made of."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
from hostile_headers import (
    exif_block,
)
from PIL import Image

Stream = np.random.Generator
Mutation = Callable[[Stream], bytes]

KINDS: dict[str, Mutation] = {}
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


def kind(function: Mutation) -> Mutation:
    """List a kind under its function's name."""
    KINDS[function.__name__] = function
    return function


def mutated(name: str, number: int) -> bytes:
    """Mutation `number` of a kind."""
    return KINDS[name](np.random.default_rng([list(KINDS).index(name), number]))


@functools.cache
def base(format: str, variant: int) -> bytes:
    """A sound picture of 61×45 pixels, in one of the format's forms."""
    rng = np.random.default_rng(variant)
    smooth = np.linspace(0, 255, 61 * 45 * 3).reshape(45, 61, 3) + rng.integers(0, 30, (45, 61, 3))
    picture = Image.fromarray(smooth.clip(0, 255).astype(np.uint8))
    modes = {"JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "P", "RGBA", "I;16", "1", "LA"), "GIF": ("P", "L")}
    modes |= {"TIFF": ("RGB", "L", "P", "I;16", "CMYK", "F"), "WEBP": ("RGB", "RGBA"), "BMP": ("RGB", "P", "L", "1")}
    mode = modes[format][variant % len(modes[format])]
    picture = picture.convert("L").convert(mode) if mode in ("I;16", "F") else picture.convert(mode)
    options: dict[str, object] = {}
    if format == "JPEG":
        options = {"progressive": variant % 2 == 1, "exif": exif_block(variant % 8 + 1), "quality": 60}
    elif format == "WEBP":
        options = {"lossless": variant % 2 == 1, "exif": exif_block(variant % 8 + 1)}
    elif format == "TIFF" and mode in ("RGB", "L"):
        options = {
            "compression": ("tiff_lzw", "tiff_deflate", "jpeg", "packbits", "raw", "tiff_adobe_deflate")[variant % 6]
        }
    elif format == "PNG":
        options = {"exif": exif_block(variant % 8 + 1)}
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def some(rng: Stream) -> bytearray:
    """Any sound picture."""
    return bytearray(base(FORMATS[rng.integers(len(FORMATS))], int(rng.integers(12))))


def words(rng: Stream) -> bytes:
    """A number that programs trip over, of one to eight bytes, in either order of bytes."""
    length = int(rng.choice([1, 2, 4, 8]))
    numbers = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**16 - 1, 2**15, 255, 127, 2**24, 2**63, 2**64 - 1, 65500)
    value = numbers[rng.integers(len(numbers))] % 2 ** (8 * length)
    return value.to_bytes(length, "big" if rng.integers(2) else "little")


def somewhere(rng: Stream, data: bytes | bytearray, head: bool = False) -> int:
    """A place in the data, or in its first hundred bytes."""
    return int(rng.integers(max(1, min(len(data), 100) if head else len(data))))
