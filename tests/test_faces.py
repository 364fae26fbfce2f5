"""The detector: the right face, in pixels of the full picture, the same whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from noisyfer.images.align import aligned
from noisyfer.relabel import faces as module
from noisyfer.relabel.faces import DETECTION_SIDE, MIN_FACE, Detector, Face, detection_shrink
from PIL import Image, ImageDraw, ImageFilter


def portrait(
    width: int, height: int, *faces: tuple[float, float, float], background: tuple[int, int, int] = (90, 110, 130)
) -> Image.Image:
    """A picture with simple faces at (x, y) of a radius; the eyes are at 0.36 radii to the left and right of the
    middle and 0.2 above it."""
    picture = Image.new("RGB", (width, height), background)
    draw = ImageDraw.Draw(picture)

    def oval(x: float, y: float, across: float, down: float, colour: tuple[int, int, int]) -> None:
        draw.ellipse((x - across, y - down, x + across, y + down), fill=colour)

    for x, y, r in faces:
        oval(x, y - 0.15 * r, 1.1 * r, 1.35 * r, (50, 35, 30))
        oval(x, y, 0.85 * r, 1.15 * r, (215, 170, 145))
        for side in (-1, 1):
            eye_x, eye_y = x + side * 0.36 * r, y - 0.2 * r
            oval(eye_x, eye_y, 0.2 * r, 0.11 * r, (240, 235, 230))
            oval(eye_x, eye_y, 0.1 * r, 0.1 * r, (30, 20, 20))
            brow = (eye_x - 0.25 * r, eye_y - 0.25 * r, eye_x + 0.25 * r, eye_y - 0.27 * r)
            draw.line(brow, fill=(60, 40, 30), width=max(2, round(r / 12)))
            oval(x + side * 0.1 * r, y + 0.28 * r, 0.05 * r, 0.04 * r, (120, 70, 60))
        draw.line((x, y - 0.1 * r, x - 0.08 * r, y + 0.25 * r), fill=(180, 130, 110), width=max(2, round(r / 15)))
        oval(x, y + 0.6 * r, 0.35 * r, 0.1 * r, (160, 60, 60))
    return picture.filter(ImageFilter.GaussianBlur(max(r for *_, r in faces) / 25 if faces else 1))


def assert_eyes_at(face: Face | None, x: float, y: float, radius: float, tolerance: float = 0.12) -> None:
    assert face is not None
    assert face.score is not None
    assert 0.7 <= face.score <= 1
    expected = (x - 0.36 * radius, y - 0.2 * radius, x + 0.36 * radius, y - 0.2 * radius)
    assert np.abs(np.array(face.eyes) - expected).max() < tolerance * radius
    assert face.box is not None
    left, top, right, bottom = face.box
    assert left < face.eyes[0] < face.eyes[2] < right
    assert top < face.eyes[1] < bottom


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


# ---- with the real network


def test_the_eyes_of_a_face_are_found_left_before_right(detector: Detector) -> None:
    pictures = [portrait(200, 220, (100, 110, r)) for r in (30, 60, 80)]
    for face, radius in zip(detector.detect(pictures, [200] * 3), (30, 60, 80), strict=True):
        assert_eyes_at(face, 100, 110, radius)


def test_coordinates_are_those_of_the_full_picture(detector: Detector) -> None:
    picture = portrait(1600, 1200, (900, 500, 300))
    halved = picture.reduce(2)  # as a JPEG may be decoded
    for image in (picture, halved):
        assert_eyes_at(detector.detect([image], [1600])[0], 900, 500, 300)


def test_a_face_that_fills_its_picture_is_found(detector: Detector) -> None:
    face = detector.detect([portrait(300, 330, (150, 165, 175))], [300])[0]
    assert_eyes_at(face, 150, 165, 175, tolerance=0.25)


def test_a_face_larger_than_its_picture_is_found_behind_a_border(detector: Detector) -> None:
    picture = portrait(300, 330, (150, 165, 175)).crop((20, 20, 280, 320))
    assert detector._search([picture], min(picture.size) // module.FIRST_SHARE) == [None]
    assert_eyes_at(detector.detect([picture], [picture.width])[0], 130, 145, 175, tolerance=0.25)


def test_a_small_face_is_found_by_the_second_search(detector: Detector) -> None:
    assert_eyes_at(detector.detect([portrait(500, 400, (260, 190, 22))], [500])[0], 260, 190, 22)


def test_where_there_is_no_face_there_is_none(detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    pictures = [
        Image.fromarray(noise),
        Image.new("RGB", (64, 64)),
        Image.new("RGB", (3, 2)),
        Image.new("RGB", (1, 900)),
    ]
    assert detector.detect(pictures, [picture.width for picture in pictures]) == [None] * 4
    assert detector.detect([], []) == []


def test_a_face_does_not_depend_on_the_others_in_its_batch(detector: Detector) -> None:
    places = [(70, 90, 40), (100, 110, 60), (130, 100, 50), (90, 120, 70)]
    pictures = [portrait(200, 220, place) for place in places]
    pictures.insert(2, Image.new("RGB", (200, 220)))
    pictures.insert(1, portrait(150, 150, (80, 70, 45)))
    widths = [picture.width for picture in pictures]
    together = detector.detect(pictures, widths)
    backwards = detector.detect(pictures[::-1], widths[::-1])[::-1]
    for picture, width, *faces in zip(pictures, widths, together, backwards, strict=True):
        alone = detector.detect([picture], [width])[0]
        for face in faces:
            if alone is None or alone.box is None or alone.score is None:
                assert face is None
                continue
            assert face is not None
            np.testing.assert_allclose(face.eyes, alone.eyes, atol=0.05)
            np.testing.assert_allclose(face.box, alone.box, atol=0.05)
            assert face.score == pytest.approx(alone.score, abs=1e-3)


def test_a_found_face_can_be_cut_out(detector: Detector) -> None:
    picture = portrait(200, 220, (100, 110, 60))
    face = detector.detect([picture], [200])[0]
    assert face is not None
    crop = aligned(picture, face.eyes, 100).astype(int)
    skin = crop[40:50, 47:53].mean(axis=(0, 1))
    for column in (30, 70):  # where the eyes are, it is darker than between them
        assert crop[27:33, column - 3 : column + 3].mean() < skin.mean() - 30


# ---- the choice, with a network whose answers are known


class Answers:
    """A network that answers with fixed boxes, and notes what it is asked."""

    def __init__(self, *boxes: tuple[float, float, float, float, float]) -> None:
        """`boxes` are left, top, right, bottom and score, without any border."""
        self.boxes = boxes
        self.min_face_size = 0
        self.asked: list[tuple[int, int, tuple[int, int]]] = []
        self.fails_at: tuple[int, ...] = ()

    def detect(self, images: Sequence[Image.Image], landmarks: bool) -> tuple[Any, Any, Any]:
        self.asked.append((self.min_face_size, len(images), images[0].size))
        if len(images) in self.fails_at:
            raise IndexError("the shape of the mask does not match")
        side = np.array([box for box in self.boxes if min(box[2] - box[0], box[3] - box[1]) >= self.min_face_size])
        if not len(side):
            return [None] * len(images), [[None]] * len(images), [None] * len(images)
        points = np.repeat(side[:, None, :2], 5, axis=1) + np.arange(5)[None, :, None]
        return [side[:, :4]] * len(images), [side[:, 4]] * len(images), [points] * len(images)


def choose(*boxes: tuple[float, float, float, float, float], size: tuple[int, int] = (200, 100)) -> Face | None:
    found = Detector()
    answers = Answers(*boxes)
    found.__dict__["_network"] = answers
    return found.detect([Image.new("RGB", size)], [size[0]])[0]


def test_the_widest_face_is_chosen_and_one_in_a_corner_counts_half() -> None:
    middle, corner = (80, 30, 120, 70, 0.99), (0, 0, 60, 60, 0.99)
    # 60 wide, (30, 30) of (100, 50): the distance to the middle is √(70² + 20²) of √(100² + 50²), 0.651
    assert 60 * (1 - 0.651 / 2) > 40
    chosen = choose(middle, corner)
    assert chosen is not None
    assert chosen.box == corner[:4]
    smaller = (0, 0, 50, 50, 0.99)  # 50 · (1 − 0.70 / 2) < 40
    chosen = choose(middle, smaller)
    assert chosen is not None
    assert chosen.box == middle[:4]


def test_a_doubtful_face_stands_back() -> None:
    doubtful, sure = (50, 0, 150, 100, 0.89), (90, 40, 115, 65, 0.9)
    for boxes in ((doubtful, sure), (sure, doubtful)):
        chosen = choose(*boxes)
        assert chosen is not None
        assert (chosen.box, chosen.score) == (sure[:4], 0.9)
    alone = choose(doubtful)
    assert alone is not None
    assert alone.score == pytest.approx(0.89)


@pytest.mark.parametrize(
    ("box", "again"),
    [
        ((170, 30, 230, 90, 0.99), False),
        ((188, 48, 212, 72, 0.99), False),  # of 24, the least of the first search, and in the middle
        ((0, 0, 40, 40, 0.99), True),  # counts for 23: a smaller one nearer the middle could win
        ((170, 30, 230, 90, 0.8), True),  # doubtful
        ((195, 55, 205, 65, 0.99), True),  # too small for the first search
    ],
)
def test_small_faces_are_looked_for_where_one_could_be_chosen(box: Any, again: bool) -> None:
    found, answers = Detector(), Answers(box)
    found.__dict__["_network"] = answers
    size = (400, 120)  # a fifth of 120 is 24
    found.detect([Image.new("RGB", size)] * 3, [400] * 3)
    first = (24, 3, size)
    # an eighth of 120 is 15
    assert answers.asked == ([first, (MIN_FACE, 3, (430, 150))] if again else [first])


def test_the_border_is_taken_off_again() -> None:
    found, answers = Detector(), Answers((100, 60, 119, 79, 0.8))
    answers.boxes = ((100, 60, 125, 85, 0.8),)
    found.__dict__["_network"] = answers
    face = found.detect([Image.new("RGB", (400, 120))], [800])[0]
    assert face is not None
    assert face.box == (170, 90, 220, 140)  # 15 less, then twice as large
    assert face.eyes == (170, 90, 172, 92)


def test_coordinates_are_rounded_as_a_manifest_keeps_them() -> None:
    found = Detector()
    found.__dict__["_network"] = Answers((20.1, 20.2, 80.3, 80.4, 0.99))
    face = found.detect([Image.new("RGB", (97, 97))], [1000])[0]
    assert face is not None
    assert face.eyes == tuple(np.array(face.eyes, np.float32).tolist())
    assert face.eyes[0] == pytest.approx(20.1 * 1000 / 97)


def test_pictures_are_searched_in_batches_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_PIXELS", 3 * 100 * 100)
    found, answers = Detector(), Answers((20, 20, 80, 80, 0.99))
    found.__dict__["_network"] = answers
    sizes = [(100, 100), (300, 200)] * 4
    assert all(found.detect([Image.new("RGB", size) for size in sizes], [size[0] for size in sizes]))
    assert [(count, size) for _, count, size in answers.asked] == [
        (3, (100, 100)),
        (1, (100, 100)),
        *[(1, (300, 200))] * 4,
    ]


def test_a_candidate_that_the_library_cannot_count_costs_no_other_picture_its_face() -> None:
    found, answers = Detector(), Answers((20, 20, 80, 80, 0.99))
    found.__dict__["_network"] = answers
    answers.fails_at = (3,)
    assert all(found.detect([Image.new("RGB", (100, 100))] * 3, [100] * 3))
    answers.fails_at = (1, 3)
    assert found.detect([Image.new("RGB", (100, 100))] * 3, [100] * 3) == [None] * 3


# ---- the size at which a picture is searched


@pytest.mark.parametrize(
    ("width", "height", "shrink"),
    [(640, 480, 1), (1279, 900, 1), (1280, 10, 2), (10, 1280, 2), (4000, 3000, 4), (5120, 4000, 8), (30_000, 2_000, 8)],
)
def test_a_large_picture_is_decoded_smaller_to_be_searched(width: int, height: int, shrink: int) -> None:
    assert detection_shrink(width, height) == shrink
    assert shrink == 1 or max(width, height) / shrink >= DETECTION_SIDE


def test_no_more_pixels_are_searched_than_needed() -> None:
    found, answers = Detector(), Answers()
    found.__dict__["_network"] = answers
    found.detect([Image.new("RGB", (1000, 750)), Image.new("RGB", (640, 2))], [4000, 640])
    assert answers.asked[0][2] == (640, 480)
    assert all(max(size) <= DETECTION_SIDE * 1.25 for *_, size in answers.asked)
