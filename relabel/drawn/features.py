"""Drawing the parts of a face: eyes, brows, nose, mouth, and the lines that an expression makes."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, blob, darker, disc, mixed
from .geometry import SIDES, Array, lifted, moved, smooth
from .looks import Looks
from .shape import Eye, Face

WHITE = (248, 245, 242)
TEETH = (240, 236, 226)
CAVITY = (62, 20, 22)
TONGUE = (176, 84, 88)


def draw_features(canvas: Canvas, face: Face, looks: Looks) -> None:
    """Everything on the skin but hair."""
    _modelling(canvas, face, looks)
    _wrinkles(canvas, face, looks)
    _nose(canvas, face, looks)
    for eye in face.eyes:
        _eye(canvas, face, eye, looks)
    _mouth(canvas, face, looks)
    for side, brow in zip(SIDES, face.brows, strict=True):
        _brow(canvas, face, side, brow, looks)


def _modelling(canvas: Canvas, face: Face, looks: Looks) -> None:
    """Soft light and dark that give the head its relief."""
    build, doing = face.build, face.actions
    nose_y, wing = face.nose_tip[1], face.wing[1]
    mouth_y = float(face.mouth.inner_top[10, 1])
    cheek = max(0.0, doing["cheek"])
    for side in SIDES:
        x = side * build.eye_distance
        canvas.shade(disc((x, -0.04), (0.3, 0.17)), 0.24)
        canvas.shade(disc((x * 0.5, -0.12), (0.09, 0.12)), 0.24)
        canvas.shade(disc((side * 0.55, 0.36 - 0.06 * cheek), (0.2, 0.15)), -0.1 - 0.16 * cheek)
        blush = mixed(looks.skin, (214, 92, 84), 0.5)
        canvas.shade(disc((side * 0.58, 0.42), (0.2, 0.16)), 0.16, tint=blush)
        canvas.shade(blob([(side * 0.75, 0.35), (side * 0.55, 0.62), (side * 0.72, 0.85)]), 0.16)
        canvas.shade(
            blob([(side * (wing - 0.02), nose_y - 0.25), (side * (wing + 0.05), nose_y), (side * 0.1, nose_y - 0.1)]),
            0.22,
        )
    canvas.shade(blob([(-0.06, -0.3), (0.06, -0.3), (0.06, nose_y - 0.1), (-0.06, nose_y - 0.1)]), -0.16)
    canvas.shade(disc((0, -0.72), (0.4, 0.18)), -0.08)
    below = float(face.mouth.bottom[10, 1])
    canvas.shade(disc((0, below + 0.07), (0.22, 0.06)), 0.4)
    canvas.shade(disc((0, nose_y + 0.14), (wing * 1.1, 0.05)), 0.3)
    canvas.shade(disc((0, 0.5 * (below + face.chin) + 0.06), (0.14, 0.1)), -0.1)
    canvas.shade(disc((0, mouth_y - 0.12), (0.05, 0.07)), 0.12)


def _wrinkles(canvas: Canvas, face: Face, looks: Looks) -> None:
    build, doing, old = face.build, face.actions, looks.age
    squeeze, inner = max(0.0, doing["brow_squeeze"]), doing["brow_inner"]
    wrinkle = max(0.0, doing["nose_wrinkle"])
    brow_y = -build.brow_height - build.eye_height
    for side in SIDES:
        furrow = [(side * 0.07, brow_y - 0.1 - 0.1 * inner), (side * 0.06, brow_y), (side * 0.085, brow_y + 0.1)]
        canvas.crease(smooth(np.array(furrow)), 0.06, (0.7 * squeeze + 0.15 * wrinkle) * (0.75 + 0.5 * old))
        for number in range(2):
            y = 0.02 + 0.1 * number
            line = [(side * 0.03, y + 0.02), (side * 0.1, y - 0.03), (side * 0.17, y - 0.005)]
            canvas.crease(smooth(np.array(line)), 0.045, 0.6 * wrinkle)
        fold = 0.6 * max(0.0, doing["corner"]) + 0.6 * wrinkle + 0.4 * max(0.0, doing["upper_lip"]) + 0.35 * old
        fold += 0.3 * max(0.0, doing["stretch"])
        wing_y, wing = face.wing
        corner = face.mouth.inner_top[0 if side < 0 else -1]
        beside = [(side * (wing + 0.02), wing_y - 0.05), (side * (wing + 0.15), wing_y + 0.08)]
        beside += [(corner[0] + side * 0.1, corner[1] - 0.08), (corner[0] + side * 0.11, corner[1] + 0.03)]
        canvas.crease(smooth(np.array(beside)), 0.055, 0.6 * min(0.8, 0.1 + fold))
        down = max(0.0, -doing["corner"]) + 0.3 * old
        marionette = [(corner[0], corner[1] + 0.02), (corner[0] + side * 0.05, corner[1] + 0.14)]
        canvas.crease(smooth(np.array([*marionette, (corner[0] + side * 0.04, corner[1] + 0.22)])), 0.045, 0.4 * down)
        _eye_lines(canvas, face, side, old)
    forehead = 0.8 * max(0.0, min(inner, 1.0)) * (0.35 + 0.65 * max(0.0, doing["brow_outer"])) + 0.16 * old
    for number in range(3):
        y = brow_y - 0.2 - 0.11 * number
        half = 0.42 - 0.06 * number
        line = [(-half, y + 0.02), (-0.2, y - 0.02), (0, y + 0.015), (0.2, y - 0.02), (half, y + 0.02)]
        canvas.crease(smooth(np.array(line)), 0.035, 0.75 * forehead * (0.6 + 0.4 * old))


def _eye_lines(canvas: Canvas, face: Face, side: int, old: float) -> None:
    doing, build = face.actions, face.build
    x, half = side * build.eye_distance, build.eye_size
    under = 0.14 + 0.4 * max(0.0, doing["lid_tension"]) + 0.35 * max(0.0, doing["cheek"]) + 0.25 * old
    low = float(face.eyes[0].lower[8, 1])
    bag = [(x - half * 0.9, 0.04), (x - half * 0.3, low + 0.085), (x + half * 0.4, low + 0.085), (x + half, 0.05)]
    canvas.crease(smooth(np.array(bag)), 0.045, 0.75 * under)
    feet = max(0.0, doing["cheek"]) * (0.4 + 0.6 * old)
    for number in (-1, 0, 1):
        start = np.array([x + side * (half + 0.05), 0.02 + 0.035 * number])
        line = np.array([start, moved(start, side * 0.06, 0.03 * number), moved(start, side * 0.12, 0.075 * number)])
        canvas.crease(line, 0.028, 0.55 * feet)


def _nose(canvas: Canvas, face: Face, looks: Looks) -> None:
    (tip_x, tip_y), (wing_y, wing) = face.nose_tip, face.wing
    dark = darker(looks.skin, 0.35)
    for side in SIDES:
        nostril = disc((side * wing * 0.48, tip_y + 0.015), (wing * 0.27, 0.026))
        canvas.fill(lifted(nostril, 0.14), darker(looks.skin, 0.68), 0.85)
        ala = np.array(
            [
                (side * wing * 0.86, wing_y - 0.1),
                (side * wing * 1.06, wing_y - 0.02),
                (side * wing * 0.86, wing_y + 0.045),
            ]
        )
        canvas.stroke(lifted(smooth(ala), 0.08), looks.ink * 0.02, dark, 0.75)
    under = np.array([(-wing * 0.45, tip_y + 0.03), (0.0, tip_y + 0.05), (wing * 0.45, tip_y + 0.03)])
    canvas.stroke(lifted(smooth(under), 0.2), looks.ink * 0.016, dark, 0.6)
    canvas.shade(lifted(disc((tip_x, tip_y - 0.05), (0.05, 0.04)), 0.3), -0.2, fine=True)


def _eye(canvas: Canvas, face: Face, eye: Eye, looks: Looks) -> None:
    outline = np.vstack([eye.upper, eye.lower[::-1]])
    lid = mixed(darker(looks.skin, 0.12), looks.eyeshadow, 0.55 if looks.makeup else 0.0)
    crease = moved(eye.upper, 0, -0.045 - 0.25 * face.build.eye_height)
    crease[:, 1] = np.minimum(crease[:, 1], -0.62 * face.build.eye_height)
    canvas.fill(np.vstack([eye.upper, crease[::-1]]), lid, 0.7)
    canvas.fill(outline, WHITE)
    _iris(canvas, eye, looks)
    shadow = np.vstack([eye.upper, moved(eye.upper, 0, min(0.03, 0.3 * eye.opening))[::-1]])
    canvas.fill(shadow, (40, 25, 20), 0.35)
    taper = np.sin(np.linspace(0.35, np.pi - 0.35, len(eye.upper)))
    lash = (20, 14, 12) if looks.makeup else darker(looks.hair, 0.55)
    canvas.stroke(eye.upper, looks.ink * (0.036 if looks.makeup else 0.026) * taper, lash, 0.95)
    canvas.stroke(eye.lower, looks.ink * 0.013 * taper, darker(looks.skin, 0.5), 0.7)
    canvas.stroke(crease[2:-2], 0.014 * taper[2:-2], darker(looks.skin, 0.4), 0.6)


def _iris(canvas: Canvas, eye: Eye, looks: Looks) -> None:
    middle = moved(eye.centre, looks.gaze[0], looks.gaze[1] - 0.012)
    for radius, colour in ((0.095, darker(looks.iris, 0.45)), (0.083, looks.iris), (0.042, (12, 10, 10))):
        canvas.fill(_between_lids(disc(middle, radius), eye), colour)
    canvas.fill(_between_lids(disc(moved(middle, 0.03 * looks.light[0], -0.035), 0.02, 10), eye), (255, 255, 255), 0.9)


def _between_lids(points: Array, eye: Eye) -> Array:
    low = np.interp(points[:, 0], eye.lower[:, 0], eye.lower[:, 1])
    high = np.interp(points[:, 0], eye.upper[:, 0], eye.upper[:, 1])
    return np.column_stack([points[:, 0], np.minimum(np.maximum(points[:, 1], high), low)])


def _brow(canvas: Canvas, face: Face, side: int, brow: Array, looks: Looks) -> None:
    along = np.linspace(0, 1, len(brow))
    width = face.build.brow_thickness * (0.75 + 0.5 * along) * (1 - along**4) ** 0.6 + 0.008
    canvas.stroke(brow, width, looks.brow, 0.88)
    for share in (-0.28, 0.25):
        canvas.stroke(
            moved(brow[1:-1], 0, share * face.build.brow_thickness), 0.3 * width[1:-1], darker(looks.brow, 0.3), 0.5
        )


def _mouth(canvas: Canvas, face: Face, looks: Looks) -> None:
    mouth, doing = face.mouth, face.actions
    inner = np.vstack([mouth.inner_top, mouth.inner_bottom[::-1]])
    if mouth.opening > 0.015:
        canvas.fill(inner, CAVITY)
        gap = mouth.inner_bottom[:, 1] - mouth.inner_top[:, 1]
        if mouth.opening > 0.16:
            height = np.minimum(0.45 * gap, 0.14)[3:-3]
            edge = mouth.inner_bottom[3:-3] - np.column_stack(
                [np.zeros(15), height * np.sin(np.linspace(0.2, 2.94, 15))]
            )
            canvas.fill(np.vstack([mouth.inner_bottom[3:-3], edge[::-1]]), TONGUE)
        _teeth(canvas, face, gap)
    top = np.vstack([mouth.top, mouth.inner_top[::-1]])
    bottom = np.vstack([mouth.inner_bottom, mouth.bottom[::-1]])
    canvas.fill(top, darker(looks.lip, 0.14))
    canvas.fill(bottom, looks.lip)
    shine = 0.5 * (mouth.inner_bottom[6:15] + mouth.bottom[6:15])
    canvas.stroke(
        shine, 0.25 * face.build.lips * np.sin(np.linspace(0.3, 2.84, 9)), mixed(looks.lip, (255, 240, 235), 0.6), 0.35
    )
    taper = 0.6 + 0.4 * np.sin(np.linspace(0, np.pi, 21))
    line = darker(looks.lip, 0.62)
    canvas.stroke(mouth.inner_top, looks.ink * 0.022 * taper * (1 + 0.5 * max(0.0, doing["press"])), line, 0.9)
    if mouth.opening > 0.015:
        canvas.stroke(mouth.inner_bottom, looks.ink * 0.014 * taper, line, 0.7)
    for end, side in ((0, -1), (-1, 1)):
        canvas.shade(disc(moved(mouth.inner_top[end], side * 0.02, 0.01), (0.045, 0.035)), 0.45, fine=True)


def _teeth(canvas: Canvas, face: Face, gap: Array) -> None:
    mouth, doing = face.mouth, face.actions
    showing = max(0.0, doing["teeth"])
    upper = np.minimum(gap * (0.92 if mouth.opening < 0.2 else 0.6), 0.07 + 0.06 * showing)
    if showing + max(0.0, doing["jaw"]) > 0.25:
        band = mouth.inner_top + np.column_stack([np.zeros(21), upper])
        canvas.fill(np.vstack([mouth.inner_top[1:-1], band[1:-1][::-1]]), TEETH)
        for number in range(4, 17, 2):
            line = np.vstack([mouth.inner_top[number], band[number]])
            canvas.stroke(line, 0.008, (170, 160, 150), 0.5)
    if showing > 0.45 and mouth.opening > 0.12 and doing["corner"] < 0.2:
        low = mouth.inner_bottom - np.column_stack([np.zeros(21), np.minimum(0.3 * gap, 0.06)])
        canvas.fill(np.vstack([mouth.inner_bottom[3:-3], low[3:-3][::-1]]), darker(TEETH, 0.1))
