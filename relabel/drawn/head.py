"""Drawing what is around the features: shoulders, ears, skin, hair, beard, glasses, and what hides a face."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Colour, blob, darker, disc, mixed
from .geometry import SIDES, Array, flat, lifted, moved, smooth
from .looks import Looks
from .shape import Face

_CUTS = {
    "receding": (-1.12, -0.75, 0.0, 1.02),
    "short": (-0.92, -0.35, 0.0, 1.04),
    "side": (-0.88, -0.35, 0.45, 1.07),
    "fringe": (-0.42, -0.25, 0.0, 1.07),
    "long": (-0.86, 0.1, -0.15, 1.07),
    "bun": (-0.95, -0.35, 0.0, 1.07),
    "curly": (-0.8, -0.35, 0.0, 1.12),
}
"""By hair style: how low it grows on the forehead and at the temples, where it is parted, how far it stands out."""

_LOCK = ((0.95, -0.6), (1.12, -0.2), (1.16, 0.6), (1.12, 1.4), (0.86, 1.3), (0.93, 0.5), (0.97, -0.1))


def draw_behind(canvas: Canvas, face: Face, looks: Looks) -> None:
    """Hair behind the head, shoulders, neck and ears."""
    build, skin = face.build, looks.skin
    if looks.hair_style == "long":
        right = [
            (0.0, -build.skull - 0.1),
            (0.75, -build.skull * 0.88),
            (1.14, -0.5),
            (1.2, 0.3),
            (1.22, 1.1),
            (0.95, 1.75),
            (0.0, 1.8),
        ]
        _both(canvas, right, darker(looks.hair, 0.25), -0.35)
    elif looks.hair_style == "curly":
        for angle in np.linspace(-0.25 * np.pi, 1.25 * np.pi, 15):
            middle = (1.0 * np.cos(angle), -0.45 - 0.85 * np.sin(angle))
            canvas.fill(flat(disc(middle, 0.33), -0.3), darker(looks.hair, 0.15), body=True)
    elif looks.hair_style == "bun":
        canvas.fill(flat(disc((0.1, -build.skull - 0.12), (0.4, 0.34)), -0.3), darker(looks.hair, 0.15), body=True)
    shoulders = [
        (-2.6, 3.4),
        (-2.3, 2.25),
        (-1.5, 1.9),
        (-0.55, 1.62),
        (0.55, 1.62),
        (1.5, 1.9),
        (2.3, 2.25),
        (2.6, 3.4),
    ]
    canvas.fill(flat(smooth(np.array(shoulders)), -0.6), looks.cloth, body=True)
    neck = [(-0.55, 0.6), (0.55, 0.6), (0.6, 1.5), (0.75, 1.75), (0.0, 2.0), (-0.75, 1.75), (-0.6, 1.5)]
    canvas.fill(flat(np.array(neck), -0.45), darker(skin, 0.1), body=True)
    canvas.shade(flat(disc((0, face.chin + 0.1), (0.75, 0.22)), -0.3), 0.34)
    for side in SIDES:
        ear = [(side * 0.93, -0.18), (side * 1.08, -0.2), (side * 1.13, 0.02), (side * 1.06, 0.28), (side * 0.93, 0.36)]
        canvas.fill(flat(blob(ear), -0.1), mixed(darker(skin, 0.08), (190, 90, 80), 0.08), body=True)
        inside = np.array([(side * 1.0, -0.08), (side * 1.06, 0.0), (side * 1.0, 0.2)])
        canvas.stroke(flat(smooth(inside), -0.08), 0.035, darker(skin, 0.35), 0.6)


def draw_skin(canvas: Canvas, face: Face, looks: Looks) -> None:
    """The head without features."""
    outline = flat(face.outline)
    canvas.fill(outline, looks.skin, body=True)
    canvas.stroke(np.vstack([outline, outline[:1]]), 0.018 * looks.ink, darker(looks.skin, 0.45), 0.55)


def draw_beard(canvas: Canvas, face: Face, looks: Looks) -> None:
    """Stubble or a beard, under the mouth's lips."""
    if looks.beard <= 0:
        return
    chin, jaw = face.chin, face.build.jaw
    upper = float(face.mouth.top[10, 1])
    right = [(0.0, upper - 0.1), (0.3, upper - 0.07), (0.52, upper + 0.02), (0.8, 0.45), (0.97, 0.2)]
    right += [
        (jaw, 0.68),
        (face.build.chin_width + 0.1, chin - 0.14),
        (0.2, chin - 0.0),
        (0.0, chin + 0.06 * looks.beard),
    ]
    shape = smooth(np.vstack([np.array(right), (np.array(right)[::-1] * (-1, 1))[1:-1]]), closed=True, steps=4)
    inside = np.clip(shape / (0.99, 1.0), -0.99, 2)
    canvas.fill(lifted(inside), mixed(looks.hair, looks.skin, 0.25), 0.15 + 0.6 * looks.beard**1.5)


def draw_hair(canvas: Canvas, face: Face, looks: Looks, random: np.random.Generator) -> None:
    """The hair before the head, with some strands."""
    if looks.hair_style not in _CUTS:
        return
    low, temple, part, over = _CUTS[looks.hair_style]
    skull = face.build.skull
    arc = np.linspace(np.pi * 1.04, -np.pi * 0.04, 25)
    outer = np.column_stack([1.02 * over * np.cos(arc), -0.2 - (skull - 0.2) * over * np.sin(arc)])
    beside = 0.5 * (temple + low) - 0.1
    line = [(0.99, temple), (0.86, beside), (0.55, low + 0.02), (part, low - 0.12), (-0.55, low + 0.02)]
    edge = smooth(np.array([*line, (-0.86, beside), (-0.99, temple)]), steps=5)
    ends = min(temple, 0.0)
    back = flat(np.vstack([(-1.03, ends), outer, (1.03, ends)]))
    canvas.fill(np.vstack([back, lifted(edge, 0.03)]), looks.hair, body=True)
    for _ in range(9):
        place = random.uniform(0.08, 0.92)
        start, end = outer[int(place * 24)], edge[::-1][int(place * (len(edge) - 1))]
        middle = 0.5 * (start + end) + random.normal(0, 0.05, 2)
        strand = smooth(np.array([0.1 * middle + 0.86 * start, middle, end]))
        tone = mixed(looks.hair, (255, 240, 220) if random.random() < 0.5 else (0, 0, 0), 0.22)
        canvas.stroke(lifted(strand, 0.03), 0.03, tone, 0.45)
    if looks.hair_style == "long":
        for side in SIDES:
            canvas.fill(flat(blob([(side * x, y) for x, y in _LOCK]), 0.1), looks.hair, body=True)


def draw_glasses(canvas: Canvas, face: Face, looks: Looks, random: np.random.Generator) -> None:
    """Glasses: two frames, bridge and temples."""
    if not looks.glasses:
        return
    colour: Colour = ((24, 22, 24), (92, 52, 30), (120, 120, 126))[int(random.integers(3))]
    height, width = random.uniform(0.17, 0.24), random.uniform(0.27, 0.31)
    thick = random.uniform(0.025, 0.05)
    for side in SIDES:
        angle = np.linspace(0, 2 * np.pi, 33)
        curve = (
            np.abs(np.cos(angle)) ** 0.7 * np.sign(np.cos(angle)),
            np.abs(np.sin(angle)) ** 0.7 * np.sign(np.sin(angle)),
        )
        ring = np.column_stack([side * 0.41 + width * curve[0], 0.03 + height * curve[1]])
        canvas.fill(lifted(ring, 0.16), (210, 225, 235), 0.1)
        canvas.stroke(lifted(ring, 0.16), thick, colour)
        canvas.stroke(
            lifted(np.array([(side * 0.7, -0.04), (side * 0.86, -0.05), (side * 1.0, -0.05)]), 0.1), thick, colour
        )
    canvas.stroke(lifted(smooth(np.array([(-0.13, 0.0), (0.0, -0.04), (0.13, 0.0)])), 0.2), thick, colour)


def draw_occluder(canvas: Canvas, face: Face, looks: Looks, kind: str, random: np.random.Generator) -> None:
    """Something before the face: a hand, a scarf, a strand of hair."""
    side = -1 if random.random() < 0.5 else 1
    if kind == "hand":
        _hand(canvas, looks, side, random)
    elif kind == "scarf":
        top = random.uniform(0.72, 1.05)
        scarf = [
            (-1.05, top - 0.1),
            (-0.5, top + 0.1),
            (0, top + 0.14),
            (0.5, top + 0.1),
            (1.05, top - 0.1),
            (1.3, 2.0),
            (0, 2.2),
            (-1.3, 2.0),
        ]
        colour = mixed(looks.cloth, (230, 120, 60), 0.45)
        canvas.fill(flat(blob(scarf), 0.5), colour, body=True)
        for number in range(3):
            fold = np.array(
                [(-1.0, top + 0.15 + 0.25 * number), (0, top + 0.4 + 0.22 * number), (1.0, top + 0.1 + 0.25 * number)]
            )
            canvas.stroke(flat(smooth(fold), 0.5), 0.04, darker(colour, 0.35), 0.6)
    elif kind == "strand":
        lock = [
            (side * 0.2, -1.2),
            (side * 0.75, -0.9),
            (side * 0.85, -0.2),
            (side * 0.8, 0.5),
            (side * 0.62, 0.1),
            (side * 0.5, -0.45),
        ]
        canvas.fill(lifted(blob(lock), 0.12), looks.hair, 0.97, body=True)


def _hand(canvas: Canvas, looks: Looks, side: int, random: np.random.Generator) -> None:
    base = np.array([side * random.uniform(0.45, 0.95), random.uniform(0.75, 1.25)])
    colour = mixed(looks.skin, (200, 110, 90), 0.1)
    palm = disc(moved(base, side * 0.35, 0.5), (0.5, 0.55))
    canvas.fill(flat(palm, 0.9), colour, body=True)
    lean = random.uniform(0.1, 0.5)
    for number in range(4):
        root = moved(base, side * (0.62 - 0.22 * number), 0.25 + 0.06 * number)
        tip = moved(root, -side * (lean + 0.06 * number), -0.62 + 0.06 * number)
        finger = smooth(np.array([root, moved(0.5 * (root + tip), 0.01, 0), tip]))
        canvas.stroke(flat(finger, 0.95), 0.215, darker(colour, 0.4))
        canvas.fill(flat(disc(tip, 0.105, 14), 0.95), darker(colour, 0.4), body=True)
        canvas.stroke(flat(finger, 0.96), 0.185, colour)
        canvas.fill(flat(disc(tip, 0.092, 14), 0.96), colour, body=True)


def _both(canvas: Canvas, right: list[tuple[float, float]], colour: Colour, z: float) -> None:
    points: Array = np.array(right)
    shape = smooth(np.vstack([points, (points[::-1] * (-1, 1))[1:-1]]), closed=True)
    canvas.fill(flat(shape, z), colour, body=True)
