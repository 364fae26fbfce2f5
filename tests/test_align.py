"""Aligned faces: the eyes come to lie where they should, at every size, turn, shrink and format."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import sentence
from noisyfer.images.align import Eyes, aligned, read_face, shrink_for
from noisyfer.images.decode import UnreadableImage, decode_rgb, decode_whole, to_pixels
from PIL import Image

SIZE = 64


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def spots(width: int, height: int, eyes: Eyes, radius: float, turn: int = 0) -> Image.Image:
    """A black picture with a round soft spot at each eye: the left one red, the right one green; turned by quarters."""
    y, x = np.mgrid[:height, :width] + 0.5
    planes = [np.exp(-((x - ex) ** 2 + (y - ey) ** 2) / (2 * radius**2)) for ex, ey in (eyes[:2], eyes[2:])]
    picture = np.stack([*planes, np.zeros_like(x)], axis=2)
    return Image.fromarray(np.rot90((255 * picture).round().astype(np.uint8), turn).copy())


def centre(plane: np.ndarray) -> tuple[float, float]:
    """The centre of mass, counted from the upper left corner."""
    weights = plane.astype(float)
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]] + 0.5
    return float((weights * x).sum() / weights.sum()), float((weights * y).sum() / weights.sum())


def assert_eyes_in_place(face: np.ndarray, tolerance: float) -> None:
    size = len(face)
    for channel, place in ((0, 0.3), (1, 0.7)):
        x, y = centre(face[..., channel])
        assert x == pytest.approx(place * size, abs=tolerance)
        assert y == pytest.approx(0.3 * size, abs=tolerance)


@pytest.mark.parametrize("size", [32, 64, 100, 128, 224])
@pytest.mark.parametrize(
    ("eyes", "radius"),
    [
        ((100.0, 120.0, 160.0, 120.0), 4),
        ((100.5, 130.25, 150.0, 105.75), 4),
        ((150.0, 100.0, 150.0, 160.0), 4),  # lying on its side
        ((160.0, 150.0, 100.0, 150.0), 4),  # upside down
        ((90.0, 120.0, 330.0, 150.0), 14),  # large: averaged before
        ((140.0, 120.0, 150.0, 121.0), 1.5),  # small: magnified
    ],
)
def test_the_eyes_come_to_lie_at_three_and_seven_tenths(size: int, eyes: Eyes, radius: float) -> None:
    face = aligned(spots(420, 300, eyes, radius), eyes, size)
    assert face.shape == (size, size, 3)
    assert face.dtype == np.uint8
    assert face.flags.writeable
    assert_eyes_in_place(face, tolerance=0.08 * size / 32)


def cubic(t: float) -> float:
    """Keys' kernel with a = −1, the one of Pillow's transformations."""
    t = abs(t)
    if t < 1:
        return t**3 - 2 * t**2 + 1
    return -(t**3) + 5 * t**2 - 8 * t + 4 if t < 2 else 0.0


def literal(picture: np.ndarray, eyes: Eyes, size: int) -> np.ndarray:
    """Each pixel of the face on its own: where its centre lies in the picture, and the cubic mean of 4×4 there."""
    height, width, _ = picture.shape
    left, right = np.array(eyes[:2]), np.array(eyes[2:])
    across = (right - left) / (0.4 * size)  # one pixel to the right in the face, in the picture
    down = np.array([-across[1], across[0]])
    face = np.zeros((size, size, 3), np.uint8)
    for row in range(size):
        for column in range(size):
            x, y = left + (column + 0.5 - 0.3 * size) * across + (row + 0.5 - 0.3 * size) * down
            if not (0 <= x < width and 0 <= y < height):
                continue
            x0, y0 = math.floor(x - 0.5), math.floor(y - 0.5)
            total = np.zeros(3)
            for j in range(y0 - 1, y0 + 3):
                for i in range(x0 - 1, x0 + 3):
                    weight = cubic(x - 0.5 - i) * cubic(y - 0.5 - j)
                    total += weight * picture[min(max(j, 0), height - 1), min(max(i, 0), width - 1)]
            face[row, column] = np.clip(total, 0, 255).astype(np.uint8)
    return face


def averaged(picture: np.ndarray, block: int) -> np.ndarray:
    """The rounded mean of each block, those at the right and lower edge perhaps smaller."""
    height, width, _ = picture.shape
    rows = [picture[top : top + block] for top in range(0, height, block)]
    blocks = [[row[:, left : left + block] for left in range(0, width, block)] for row in rows]
    return np.array([[np.floor(part.mean(axis=(0, 1)) + 0.5) for part in row] for row in blocks])


@pytest.mark.parametrize(
    ("eyes", "block"),
    [
        ((20.0, 20.0, 33.0, 20.0), 1),
        ((14.25, 16.0, 31.0, 22.5), 1),
        ((40.0, 12.0, 22.0, 30.0), 1),
        ((10.0, 15.0, 38.0, 20.0), 2),
        ((4.0, 5.0, 44.0, 9.0), 3),
    ],
)
def test_a_face_equals_the_transform_written_out(eyes: Eyes, block: int) -> None:
    picture = noise(48, 40)
    assert int(math.dist(eyes[:2], eyes[2:]) / (0.4 * 32)) == block
    found = aligned(picture, eyes, 32).astype(int)
    small = tuple(value / block for value in eyes)
    expected = literal(averaged(np.asarray(picture), block), small, 32)  # type: ignore[arg-type]
    off = np.abs(found - expected).max(axis=2)
    assert np.sort(off.ravel())[-16] <= 2  # Pillow rounds twice; at the very edge a pixel may fall to either side
    assert found.any()


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.floats(5, 40)] * 4).filter(lambda eyes: math.dist(eyes[:2], eyes[2:]) > 4),
    st.integers(0, 50),
)
def test_a_turned_picture_with_turned_eyes_gives_the_same_face(eyes: Eyes, seed: int) -> None:
    picture = noise(48, 45, seed)
    upright = aligned(picture, eyes, 24).astype(int)
    turned = picture.transpose(Image.Transpose.ROTATE_180)
    moved = (48 - eyes[0], 45 - eyes[1], 48 - eyes[2], 45 - eyes[3])
    # blocks that are averaged begin at the upper left corner: only where there are none it is the very same
    if math.dist(eyes[:2], eyes[2:]) < 2 * 0.4 * 24:
        assert np.mean(np.abs(aligned(turned, moved, 24).astype(int) - upright) <= 2) > 0.97


def test_what_lies_outside_the_picture_is_black() -> None:
    white = Image.new("RGB", (40, 40), (255, 255, 255))
    face = aligned(white, (1.0, 5.0, 11.0, 5.0), 50)  # two pixels of the face to one of the picture
    expected = np.zeros((50, 50, 3), np.uint8)
    # the picture's corner (0, 0) is at 15 − 2·1 from the left and 15 − 2·5 from the top
    expected[5:, 13:] = 255
    assert np.array_equal(face, expected)


def test_a_pattern_finer_than_the_face_becomes_grey_instead_of_another_pattern() -> None:
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    face = aligned(Image.fromarray(stripes), (300.0, 250.0, 500.0, 250.0), 20)  # 25 pixels to one
    assert np.abs(face.astype(int) - 127.5).max() < 14


@pytest.mark.parametrize("turn", [0.0, 0.3, 2.0, 4.0])
def test_averaging_only_the_part_around_the_face_is_the_same_as_averaging_all(turn: float) -> None:
    picture = noise(402, 303)
    x, y = 15 * math.cos(turn), 15 * math.sin(turn)
    eyes = (190 - 1.4 * x, 150 - 1.4 * y, 190 + 1.4 * x, 150 + 1.4 * y)
    small = tuple(value / 3 for value in eyes)
    expected = aligned(picture.reduce(3), small, 32)  # type: ignore[arg-type]
    assert np.array_equal(aligned(picture, eyes, 32), expected)


# ---- the reduction that a picture may be decoded at


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 5000), st.floats(0, 2 * math.pi), st.integers(16, 512))
def test_no_reduction_leaves_fewer_pixels_between_the_eyes_than_the_face_has(
    distance: float, angle: float, size: int
) -> None:
    eyes = (900.0, 800.0, 900 + distance * math.cos(angle), 800 + distance * math.sin(angle))
    shrink = shrink_for(eyes, size)
    assert shrink in (1, 2, 4, 8)
    assert shrink == 1 or distance / shrink >= 0.4 * size - 1e-6
    assert shrink == 8 or distance / (2 * shrink) < 0.4 * size + 1e-6


def test_eyes_that_are_no_numbers_ask_for_no_reduction() -> None:
    assert shrink_for((math.nan, 1.0, 2.0, 3.0), 64) == 1


def jpeg(image: Image.Image, orientation: int = 1) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(stream, "JPEG", quality=95, subsampling=0, exif=exif)
    return stream.getvalue()


TURNS = {3: 2, 6: 1, 8: 3}
"""EXIF orientation: by how many quarter turns to the left the pixels are stored."""


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(("width", "height"), [(801, 603), (800, 600), (805, 607)])
@pytest.mark.parametrize("distance", [60, 130, 240])
def test_eyes_are_found_in_large_and_turned_photographs(
    orientation: int, width: int, height: int, distance: int
) -> None:
    eyes = (251.0, 300.0, 251.0 + distance, 310.0)
    data = jpeg(spots(width, height, eyes, distance / 14, TURNS.get(orientation, 0)), orientation)
    assert decode_rgb(data, "x").size == (width, height)
    face = read_face(data, "x", eyes, 64)
    face = np.where(face > 12, face, 0)  # JPEG's noise
    assert_eyes_in_place(face, tolerance=0.12)


def test_path_bytes_and_pixels_give_the_same_face(tmp_path: Path) -> None:
    picture, eyes = noise(200, 150), (50.0, 60.0, 140.0, 70.0)
    file = tmp_path / "a.png"
    picture.save(file)
    faces = [read_face(source, "a.png", eyes, 48) for source in (file, file.read_bytes(), np.asarray(picture))]
    assert np.array_equal(faces[0], faces[1])
    assert np.array_equal(faces[0], aligned(decode_rgb(file, "x", 4), eyes, 48, 4))
    assert np.abs(faces[0].astype(int) - faces[2]).max() <= 1


def test_without_eyes_the_whole_picture_is_taken(tmp_path: Path) -> None:
    picture = noise(100, 70)
    file = tmp_path / "a.png"
    picture.save(file)
    expected = to_pixels(picture, 48)
    for source in (file, file.read_bytes(), np.asarray(picture)):
        assert np.array_equal(read_face(source, "a.png", None, 48), expected)
    square = np.asarray(noise(48, 48))
    assert np.array_equal(read_face(square, "a", None, 48), square)


def test_a_large_jpeg_is_decoded_small_where_it_is_taken_whole() -> None:
    smooth = noise(20, 15).resize((1600, 1200), Image.Resampling.BICUBIC)
    data = jpeg(smooth)
    found = decode_whole(data, "x", 64).astype(int)
    assert np.abs(found - to_pixels(decode_rgb(data, "x"), 64)).mean() < 1.5
    assert np.array_equal(found, to_pixels(decode_rgb(data, "x", 8), 64))  # 1200 / 8 ≥ 2 · 64
    assert np.array_equal(decode_whole(data, "x", 100), to_pixels(decode_rgb(data, "x", 4), 100))


# ---- eyes that cannot be


@pytest.mark.parametrize(
    ("eyes", "said"),
    [
        ((math.nan, 1.0, 20.0, 1.0), "are not all numbers"),
        ((10.0, math.inf, 20.0, 1.0), "are not all numbers"),
        ((10.0, 10.0, 10.0, 10.0), "less than a pixel apart"),
        ((10.0, 10.0, 10.5, 10.0), "less than a pixel apart"),
        ((-400.0, 10.0, 400.0, 10.0), "farther apart than the picture of 48×40 pixels is large"),
        ((50.0, 10.0, 60.0, 10.0), "lie outside the picture of 48×40 pixels"),
        ((10.0, -12.0, 20.0, -10.0), "lie outside the picture"),
        ((1e30, 1e30, 1e30, 1e30), "less than a pixel apart"),
        ((1e308, -1e308, -1e308, 1e308), "farther apart"),
    ],
)
def test_eyes_that_cannot_be_are_bad_landmarks(eyes: Eyes, said: str, tmp_path: Path) -> None:
    noise(48, 40).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", np.asarray(noise(48, 40))):
        with pytest.raises(UnreadableImage, match=said) as caught:
            read_face(source, "a.png", eyes, 32)
        assert caught.value.status == "bad_landmarks"
        assert caught.value.reference == "a.png"
        assert "'a.png'" in sentence(caught)
