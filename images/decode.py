"""From the bytes of one image file to RGB pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 80_000_000
"""A picture that claims more pixels than this is refused before any is decoded: a few kilobytes can claim billions.
80 million are 240 MB as RGB, more than any camera the datasets came from, and below Pillow's own warning."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Formats that are decoded. Pillow knows more, some of which start other programs (EPS runs Ghostscript)."""

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


class UnreadableImage(UserError):
    """One image that cannot be read, while the others of its dataset may be fine.

    Attributes:
        reference: the image's reference.
        reason: why, as the end of a sentence, without a full stop.
    """

    def __init__(self, reference: str, reason: str) -> None:
        self.reference = reference
        self.reason = reason
        super().__init__(
            f"Cannot read image '{reference}': {reason}. "
            "Restore the file from where the dataset came from, or leave the sample out."
        )


def decode_rgb(source: bytes | Path, reference: str) -> Image.Image:
    """Decode one image to upright 8-bit RGB.

    EXIF rotation is applied; grey and palette images are expanded; transparency is laid over black, the value images
    are padded with; CMYK and YCbCr are converted without a colour profile; 16-bit grey keeps its range (65,535
    becomes 255). Of an animation the first frame is taken.

    Args:
        source: the file's bytes, or its path.
        reference: names the image in errors.

    Raises:
        UnreadableImage: it is missing, damaged, of no format in `FORMATS`, larger than `MAX_PIXELS`, or has
            floating-point pixels, for which no white is defined.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image.load()
            return _rgb(_upright(image), reference)
    except UnreadableImage:
        raise
    except Exception as error:  # on damaged files Pillow's decoders raise nearly every exception there is
        raise UnreadableImage(reference, _failure(error)) from error


def to_pixels(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """An RGB picture as an array (size×size×3); resized by Pillow's bicubic filter, aspect not kept, unless it fits."""
    from PIL import Image

    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def resized(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Decoded pixels (n×h×w×3) as n×size×size×3; the very same array where they fit."""
    from PIL import Image

    if pixels.shape[1:3] == (size, size):
        return pixels
    result = np.empty((len(pixels), size, size, 3), dtype=np.uint8)
    for index, picture in enumerate(pixels):
        result[index] = to_pixels(Image.fromarray(picture), size)
    return result


def _failure(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"it is no image in one of the formats {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it claims more pixels than the {MAX_PIXELS:,} allowed"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be opened ({error.strerror})"
    return f"it is damaged ({error or type(error).__name__})".replace("\n", " ")


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
    except Exception:  # a broken EXIF block says nothing of the pixels; viewers show such a picture as it is
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _rgb(image: Image.Image, reference: str) -> Image.Image:
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()  # the file closes behind the caller
    if image.mode == "F":
        raise UnreadableImage(reference, "its pixels are floating-point numbers, for which no white is defined")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableImage(reference, "its grey values have more than 16 bits")
        grey = ((values + 128) // 257).astype(np.uint8)  # 65535 / 255 = 257: to the nearest, white stays white
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture).convert("RGB")
    return image.convert("RGB")
