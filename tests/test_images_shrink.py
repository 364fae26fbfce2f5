"""Pictures decoded smaller than they are, their upright size, and why one cannot be read."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from messages import sentence
from noisyfer.images import decode
from noisyfer.images.decode import UnreadableImage, decode_rgb, picture_size
from PIL import Image

ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[ORIENTATION] = orientation
    return made


def ramps(width: int, height: int) -> Image.Image:
    """Red grows to the right and green downwards, in proportion to the place in the picture."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return Image.fromarray((255 * np.stack([x, y, np.full_like(x, 0.5)], axis=2)).round().astype(np.uint8))


STORED = {
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}
"""How an upright picture is stored under each orientation."""


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("width", "height"), [(157, 121), (160, 120)])
def test_coordinates_map_by_division(kind: str, orientation: int, shrink: int, width: int, height: int) -> None:
    picture = ramps(width, height)
    for turn in STORED[orientation]:
        picture = picture.transpose(turn)
    data = encoded(picture, kind, exif=exif(orientation), **({"quality": 95} if kind == "JPEG" else {}))
    assert picture_size(data, "x") == (width, height)
    small = decode_rgb(data, "x", shrink)
    assert small.size == (-(-width // shrink), -(-height // shrink))
    found = np.asarray(small).astype(float)
    # the last row and column may stand for a part of a block
    inner = found[: height // shrink, : width // shrink]
    rows, columns = np.mgrid[: inner.shape[0], : inner.shape[1]]
    assert np.abs(inner[..., 0] - 255 * (columns + 0.5) * shrink / width).max() < 4
    assert np.abs(inner[..., 1] - 255 * (rows + 0.5) * shrink / height).max() < 4


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (9, 8), (15, 16), (17, 1)])
@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pictures_of_any_size_are_made_smaller(size: tuple[int, int], shrink: int, kind: str) -> None:
    data = encoded(Image.new("RGB", size, (200, 100, 50)), kind)
    small = decode_rgb(data, "x", shrink)
    assert small.size == (-(-size[0] // shrink), -(-size[1] // shrink))
    assert np.abs(np.asarray(small).astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_grey_and_cmyk_jpegs_are_decoded_small(mode: str) -> None:
    data = encoded(Image.new("RGB", (64, 64), (90, 90, 90)).convert(mode), "JPEG", quality=95)
    small = decode_rgb(data, "x", 4)
    assert (small.mode, small.size) == ("RGB", (16, 16))
    assert np.abs(np.asarray(small).astype(int) - 90).max() <= 3


def test_transparent_animated_and_16_bit_pictures_are_made_smaller_after_they_became_rgb() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    clear.paste((255, 255, 255, 255), (0, 0, 2, 4))
    assert np.asarray(decode_rgb(encoded(clear, "PNG"), "x", 4)).ravel().tolist() == [128] * 3
    deep = Image.fromarray(np.full((8, 8), 257 * 60, np.uint16))
    assert np.asarray(decode_rgb(encoded(deep, "PNG"), "x", 2)).tolist() == [[[60] * 3] * 4] * 4
    moving = encoded(Image.new("L", (8, 8), 9), "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 200)])
    assert np.asarray(decode_rgb(moving, "x", 8)).ravel().tolist() == [9] * 3


# ---- the size alone


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_the_size_needs_no_pixels(kind: str, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    assert picture_size(data, "x") == (70, 90)
    (tmp_path / "a").write_bytes(data)
    assert picture_size(tmp_path / "a", "x") == (70, 90)
    if kind not in ("TIFF", "WEBP"):  # whose head may lie at the end, or whose decoder wants all of it at once
        assert picture_size(data[: len(data) // 2], "x") == (70, 90)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_an_orientation_behind_the_pixels_of_a_png_counts() -> None:
    data = encoded(Image.new("RGB", (30, 20)), "PNG")
    late = data[:-12] + chunk(b"eXIf", exif(6).tobytes()[6:]) + data[-12:]
    assert decode_rgb(late, "x").size == (20, 30)
    assert picture_size(late, "x") == (20, 30)
    plain = data[:-12] + chunk(b"tEXt", b"Comment\0none") + data[-12:]
    assert picture_size(plain, "x") == (30, 20)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    data = encoded(Image.new("RGB", (30, 20)), "JPEG", exif=exif(orientation))
    assert picture_size(data, "x") == decode_rgb(data, "x").size == (30, 20)


# ---- why a picture cannot be read


def claiming(width: int, height: int) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (claiming(50_000, 50_000), "too_large", "more pixels than the 80,000,000 allowed"),
        (claiming(9_000, 9_000), "too_large", "more pixels than the 80,000,000 allowed"),
        (b"", "unreadable", "no image in one of the formats"),
        (b"a text file", "unreadable", "no image in one of the formats"),
        (encoded(Image.new("RGB", (64, 64), (9, 9, 9)), "JPEG")[:-30], "unreadable", "damaged"),
    ],
)
@pytest.mark.parametrize("shrink", [1, 4])
def test_each_failure_has_its_status(data: bytes, status: str, said: str, shrink: int, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    for source in (data, tmp_path / "a.jpg"):
        with pytest.raises(UnreadableImage, match=said) as caught:
            decode_rgb(source, "a.jpg", shrink)
        assert caught.value.status == status
        assert "'a.jpg'" in sentence(caught)
        assert caught.value.reason in str(caught.value)


def test_a_picture_that_claims_too_much_has_no_size_either() -> None:
    with pytest.raises(UnreadableImage) as caught:
        picture_size(claiming(50_000, 50_000), "x")
    assert caught.value.status == "too_large"


def test_a_file_that_was_deleted_meanwhile_is_missing(tmp_path: Path) -> None:
    for call in (decode_rgb, picture_size):
        with pytest.raises(UnreadableImage, match="no such file") as caught:
            call(tmp_path / "gone.jpg", "gone.jpg")
        assert caught.value.status == "missing"


def test_a_reference_with_a_line_break_makes_no_second_line() -> None:
    assert "\n" not in str(UnreadableImage("a\nb.jpg", "it is damaged"))


def test_the_largest_reduction_that_is_not_too_much() -> None:
    assert [decode.largest_shrink(most) for most in (0, 1, 1.99, 2, 3.9, 4, 7, 8, 1e9)] == [1, 1, 1, 2, 2, 4, 4, 8, 8]
