"""From the bytes of one image file to RGB pixels."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError
from .bounded import CostlyFile, bounded, check_scans

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 80_000_000
"""A picture that claims more pixels than this is refused before any is decoded: a few kilobytes can claim billions.
80 million are 240 MB as RGB, more than any camera the datasets came from, and below Pillow's own warning."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Formats that are decoded. Pillow knows more, some of which start other programs (EPS runs Ghostscript)."""

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_BAND_PIXELS = 2**20
_JPEG = ("JPEG", "MPO")
_SIDEWAYS = (5, 6, 7, 8)  # width and height change places
_METADATA = (b"eXIf", b"iTXt", b"zTXt", b"tEXt")  # chunks of PNG that can hold an orientation


SHRINKS = (1, 2, 4, 8)
"""The reductions that JPEG can be decoded at."""

Status = Literal["unreadable", "missing", "too_large", "refused", "bad_landmarks"]


class UnreadableImage(UserError):
    """One image that cannot be read, while the others of its dataset may be fine.

    Attributes:
        reference: the image's reference.
        reason: why, as the end of a sentence, without a full stop.
        status: the same as a manifest's status: `unreadable`, `missing`, `too_large`, `refused`, `bad_landmarks`.
        remedy: what can be done about it, as a sentence.
    """

    def __init__(self, reference: str, reason: str, status: Status = "unreadable", remedy: str = "") -> None:
        self.reference = reference
        self.reason = reason
        self.status = status
        self.remedy = remedy or "Restore the file from where the dataset came from, or leave the sample out."
        shown = reference if reference.isprintable() else ascii(reference)[1:-1]
        super().__init__(f"Cannot read image '{shown}': {reason}. {self.remedy}")


def decode_rgb(source: bytes | Path, reference: str, shrink: int = 1) -> Image.Image:
    """Decode one image to upright 8-bit RGB.

    EXIF rotation is applied; grey and palette images are expanded; transparency is laid over black, the value images
    are padded with; CMYK and YCbCr are converted without a colour profile; 16-bit grey keeps its range (65,535
    becomes 255). Of an animation the first frame is taken.

    Args:
        source: the file's bytes, or its path.
        reference: names the image in errors.
        shrink: 1, 2, 4 or 8: each pixel of the result stands for so many by so many, so that coordinates counted from
            the upper left corner map by division. W×H pixels become ⌈W / shrink⌉×⌈H / shrink⌉. JPEG is decoded at
            that size in a fraction of the time; other formats are averaged after decoding.

    Raises:
        UnreadableImage: it is missing, damaged, of no format in `FORMATS`, larger than `MAX_PIXELS` or
            `MAX_FILE_BYTES`, or has floating-point pixels, for which no white is defined.
    """

    def chosen(image: Image.Image) -> int:
        return shrink

    picture, done = _decoded(source, reference, chosen)
    return picture if done == shrink else picture.reduce(shrink // done)


def decode_whole(source: bytes | Path, reference: str, size: int) -> npt.NDArray[np.uint8]:
    """One image as size×size×3, its aspect not kept.

    A JPEG at least four times as large in both directions is decoded at a half, a quarter or an eighth, such that at
    least twice the wanted size is left for the filter.

    Args:
        source: the file's bytes, or its path.
        reference: names the image in errors.
        size: width and height of the result; an image of just that size keeps its exact pixels.

    Raises:
        UnreadableImage: as `decode_rgb`.
    """

    def chosen(image: Image.Image) -> int:
        return largest_shrink(min(image.size) / (2 * size))

    return to_pixels(_decoded(source, reference, chosen)[0], size)


def picture_size(source: bytes | Path, reference: str) -> tuple[int, int]:
    """Width and height of the upright image in pixels, from the file's head: no pixel is decoded.

    Args:
        source: the file's bytes, or its path.
        reference: names the image in errors.

    Raises:
        UnreadableImage: it is missing, no image, or larger than `MAX_PIXELS`.
    """
    with _opened(source, reference) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def largest_shrink(most: float) -> int:
    """The largest of `SHRINKS` that is not above `most`; 1 where none is, or `most` is no number."""
    return max(shrink for shrink in SHRINKS if shrink == 1 or shrink <= most)


def to_pixels(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """An RGB picture as an array (size×size×3); resized by Pillow's bicubic filter, aspect not kept, unless it fits."""
    from PIL import Image

    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.array(image)


@functools.cache
def _silence() -> None:
    """Keep Pillow's warnings off the terminal: what they are about is harmless here, or ends as `UnreadableImage`."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


@contextlib.contextmanager
def _opened(source: bytes | Path, reference: str) -> Iterator[Image.Image]:
    """The image with its head read; whatever goes wrong inside the block becomes an `UnreadableImage`."""
    from PIL import Image

    _silence()
    try:
        with contextlib.ExitStack() as closing:
            opened = bounded(source)
            if not isinstance(opened, Path):
                closing.enter_context(opened)
            image = closing.enter_context(Image.open(opened, formats=FORMATS))
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except UnreadableImage:
        raise
    except Exception as error:  # on damaged files Pillow's decoders raise nearly every exception there is
        raise _failure(reference, error) from error


def _decoded(source: bytes | Path, reference: str, choose: Callable[[Image.Image], int]) -> tuple[Image.Image, int]:
    """The upright picture in RGB, and the reduction that it was decoded at: the chosen one, or 1."""
    with _opened(source, reference) as image:
        orientation, shrink = _orientation(image), choose(image)
        # An incomplete last block would come to stand first in a picture that is turned over, and shift all the others.
        whole_blocks = image.width % shrink == 0 == image.height % shrink
        done = 1
        if image.format in _JPEG:
            check_scans(image.fp)  # type: ignore[attr-defined]
        if shrink > 1 and image.format in _JPEG and (orientation == 1 or whole_blocks):
            image.draft(None, (max(1, image.width // shrink), max(1, image.height // shrink)))
            done = image.decoderconfig[0]  # type: ignore[attr-defined]  # less than asked for, in a tiny picture
        image.load()
        return _rgb(_upright(image, orientation), reference), done


def _failure(reference: str, error: Exception) -> UnreadableImage:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return UnreadableImage(reference, f"it is no image in one of the formats {', '.join(FORMATS)}")
    if isinstance(error, Image.DecompressionBombError):
        reason = f"it claims more pixels than the {MAX_PIXELS:,} allowed"
        return UnreadableImage(reference, reason, "too_large", "Make a smaller copy of it, or leave the sample out.")
    if isinstance(error, CostlyFile | MemoryError):
        reason = str(error) or "there is too little memory for it"
        return UnreadableImage(reference, reason, "too_large", "Make a smaller copy of it, or leave the sample out.")
    if isinstance(error, FileNotFoundError):
        return UnreadableImage(reference, "there is no such file", "missing")
    if isinstance(error, OSError) and error.strerror:
        return UnreadableImage(reference, f"it cannot be opened ({error.strerror})")
    return UnreadableImage(reference, f"it is damaged ({str(error) or type(error).__name__})".replace("\n", " "))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; a broken EXIF block says nothing of the pixels, and viewers ignore it too."""
    from PIL import Image

    try:
        if image.format == "PNG" and not _late_metadata(image):
            return _valid(Image.Image.getexif(image).get(_ORIENTATION, 1))  # PNG's own decodes all pixels first
        return _valid(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _valid(orientation: Any) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _late_metadata(image: Image.Image) -> bool:
    """Whether a PNG has metadata behind its pixels, where only who decodes them all comes by."""
    stream: Any = image.fp  # type: ignore[attr-defined]
    here, pixels = stream.tell(), False
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            kind = head[4:]
            if kind == b"IEND":
                return False
            if pixels and kind in _METADATA:
                return True
            pixels = pixels or kind == b"IDAT"
            stream.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
        return False
    finally:
        stream.seek(here)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import ImageOps

    return image if orientation == 1 else ImageOps.exif_transpose(image)


def _rgb(image: Image.Image, reference: str) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()  # the file closes behind the caller
    if image.mode == "F":
        raise UnreadableImage(reference, "its pixels are floating-point numbers, for which no white is defined")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _in_bands(image, lambda band: _grey(band, reference))
    if image.has_transparency_data:
        return _in_bands(image, _over_black)
    return image.convert("RGB")


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """A picture converted some rows at a time, so that what is needed in between takes little memory."""
    from PIL import Image

    height = max(1, _BAND_PIXELS // image.width)
    if height >= image.height:
        return convert(image).convert("RGB")
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, height):
        band = image.crop((0, top, image.width, min(top + height, image.height)))
        result.paste(convert(band), (0, top))
    return result


def _grey(image: Image.Image, reference: str) -> Image.Image:
    """16-bit grey as 8 bits."""
    from PIL import Image

    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImage(reference, "its grey values have more than 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 / 255 = 257: to the nearest, white stays


def _over_black(image: Image.Image) -> Image.Image:
    from PIL import Image

    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture).convert("RGB")
