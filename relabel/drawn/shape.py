"""The shape of a face: a lasting build, moved by actions, and the landmarks that a dataset knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .geometry import Array, View, depth, flat, lifted, mirrored, smooth


@dataclass(frozen=True)
class Build:
    """The lasting shape of a head, in face units.

    Attributes:
        jaw: half the width at the jaw's angles.
        chin: height of the chin below the origin.
        chin_width: half the width of the chin.
        skull: height of the top of the head above the origin.
        eye_distance: of an eye's centre from the middle.
        eye_size: half the width of an eye.
        eye_height: height of the upper lid over the corners, at rest.
        eye_tilt: how much higher the outer corners are.
        brow_height: of the brows over the eyes.
        brow_arch: of the brows' middle over their ends.
        brow_thickness: at the thickest place.
        nose_length: from the eyes to the tip.
        nose_width: half the width at the wings.
        mouth_width: half the width of the mouth.
        lips: thickness of the lips.
        rest: what the face does at rest, added to its actions.
        lopsided: how much weaker the actions of the left side are, −1 to 1.
    """

    jaw: float
    chin: float
    chin_width: float
    skull: float
    eye_distance: float
    eye_size: float
    eye_height: float
    eye_tilt: float
    brow_height: float
    brow_arch: float
    brow_thickness: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lips: float
    rest: Mapping[str, float]
    lopsided: float


@dataclass(frozen=True)
class Eye:
    """One eye.

    Attributes:
        side: −1 or +1.
        centre: of the corners, in face units.
        upper: the upper lid's edge from the left to the right corner, N×2.
        lower: the lower lid's edge, N×2 with the same x.
        opening: height between the lids in the middle.
    """

    side: int
    centre: Array
    upper: Array
    lower: Array
    opening: float


@dataclass(frozen=True)
class Mouth:
    """The mouth's four lines, each 21×2 from the left to the right corner, and how far it is open in the middle."""

    top: Array
    inner_top: Array
    inner_bottom: Array
    bottom: Array
    opening: float


@dataclass(frozen=True)
class Face:
    """A head with an expression: what is drawn, and what the landmarks are taken from.

    Attributes:
        build: its lasting shape.
        actions: what it does, rest included.
        outline: of the head, closed, N×2.
        eyes: left and right.
        brows: centre line of each from the inner to the outer end, N×2.
        mouth: the mouth.
        nose_tip: x and y.
        wing: height of the nose's wings, and half their width.
        chin: height of the chin.
    """

    build: Build
    actions: Mapping[str, float]
    outline: Array
    eyes: tuple[Eye, Eye]
    brows: tuple[Array, Array]
    mouth: Mouth
    nose_tip: tuple[float, float]
    wing: tuple[float, float]
    chin: float


def shape_face(build: Build, state_actions: Mapping[str, float]) -> Face:
    """The face of a build that does what a state asks for."""
    doing = {name: value + build.rest.get(name, 0.0) for name, value in state_actions.items()}
    chin = build.chin + 0.14 * max(0.0, doing["jaw"]) - 0.02 * doing["chin"]
    nose_y = build.nose_length - 0.05 * doing["nose_wrinkle"]
    wing = (nose_y - 0.03 - 0.03 * doing["nose_wrinkle"], build.nose_width * (1 + 0.15 * max(0, doing["nose_wrinkle"])))
    return Face(
        build,
        doing,
        head_outline(build, chin),
        (_eye(build, doing, -1), _eye(build, doing, 1)),
        (_brow(build, doing, -1), _brow(build, doing, 1)),
        _mouth(build, doing),
        (0.0, nose_y),
        wing,
        chin,
    )


def head_outline(build: Build, chin: float) -> Array:
    """The closed outline of the head, N×2."""
    drop = chin - build.chin
    right = np.array(
        [
            (0.0, -build.skull),
            (0.5, -build.skull * 0.93),
            (0.87, -build.skull * 0.64),
            (1.0, -0.25),
            (0.97, 0.2),
            (build.jaw, 0.66 + 0.5 * drop),
            (build.chin_width + 0.1, chin - 0.14),
            (build.chin_width * 0.55, chin - 0.015),
            (0.0, chin),
        ]
    )
    return smooth(mirrored(right), closed=True)


def _strength(build: Build, side: int) -> float:
    return 1 - max(0.0, -side * build.lopsided) * 0.5


def _eye(build: Build, doing: Mapping[str, float], side: int) -> Eye:
    strength = _strength(build, side)
    centre = np.array([side * build.eye_distance, 0.0])
    half = build.eye_size
    opened = doing["eye_open"]
    up = build.eye_height * max(0.08, 1 + (0.75 if opened > 0 else 0.9) * opened * strength)
    low = 0.55 * build.eye_height * (1 + 0.25 * max(0, opened))
    low *= max(-0.35, 1 - 0.75 * doing["lid_tension"] - 0.75 * doing["cheek"] * strength)
    t = np.linspace(-1, 1, 17)
    outward = t * side  # −1 at the inner corner
    bow = np.sqrt(np.maximum(0, 1 - np.abs(t) ** 2.2))
    tilt = -(build.eye_tilt + 0.02 * min(0, doing["brow_outer"])) * outward * half
    sad = 0.25 * max(0.0, doing["brow_inner"]) * max(0.0, -opened) * build.eye_height * outward
    upper = np.column_stack([centre[0] + half * t, centre[1] + tilt - up * bow * (1 - 0.12 * outward) + sad * bow])
    lower = np.column_stack([centre[0] + half * t, centre[1] + tilt + low * bow * (1 + 0.12 * outward)])
    lower[:, 1] = np.maximum(lower[:, 1], upper[:, 1])
    return Eye(side, centre, upper, lower, float(lower[8, 1] - upper[8, 1]))


def _brow(build: Build, doing: Mapping[str, float], side: int) -> Array:
    strength = _strength(build, side)
    squeeze = 0.055 * max(0.0, doing["brow_squeeze"])
    base = -build.brow_height - build.eye_height
    inner = base - 0.13 * doing["brow_inner"] * strength + 0.3 * squeeze
    outer = base + 0.03 - 0.13 * doing["brow_outer"] * strength
    middle = base - build.brow_arch - (0.055 * doing["brow_inner"] + 0.1 * doing["brow_outer"]) * strength
    x = build.eye_distance
    points = [(x * 0.47 - squeeze, inner), (x * 0.8 - 0.6 * squeeze, 0.55 * inner + 0.45 * middle - 0.012)]
    points += [(x * 1.25, middle), (x * 1.66, outer)]
    return smooth(np.array(points) * np.array([side, 1]), steps=5)


def _mouth(build: Build, doing: Mapping[str, float]) -> Mouth:
    y = 0.62 * build.nose_length + 0.38 * build.chin
    press, teeth, jaw, chin = (max(0.0, doing[name]) for name in ("press", "teeth", "jaw", "chin"))
    lip = build.lips * (1 - 0.65 * press) * (1 - 0.15 * max(0.0, doing["corner"]))
    raised = 0.075 * max(0.0, doing["upper_lip"])
    top_gap = 0.05 * teeth + 0.06 * jaw + 0.7 * raised * min(1.0, 2 * (teeth + jaw))
    low_gap = max(0.0, 0.055 * teeth + 0.32 * jaw - 0.02 * chin)
    t = np.linspace(-1, 1, 21)
    x, corners = _mouth_line(build, doing, t)
    bow = 1 - np.abs(t) ** 2.4
    full = np.sqrt(np.maximum(0.0, 1 - np.abs(t) ** 2.2))
    line = y + corners - 0.4 * raised - 0.04 * chin
    inner_top = line - top_gap * full * (1 + 0.5 * teeth * (np.abs(t) - 0.5))
    inner_bottom = line + low_gap * full
    # Cupid's bow: a dip in the middle between two peaks
    cupid = 0.18 * np.exp(-((t / 0.16) ** 2)) - 0.1 * np.exp(-(((np.abs(t) - 0.3) / 0.18) ** 2))
    top = inner_top - (lip * 0.72 + raised * 0.15) * bow * (1 - cupid) - 0.01 * bow
    bottom = inner_bottom + lip * bow * (1 + 0.12 * chin) + 0.01 * bow
    lines = [np.column_stack([x, heights]) for heights in (top, inner_top, inner_bottom, bottom)]
    return Mouth(lines[0], lines[1], lines[2], lines[3], top_gap + low_gap)


def _mouth_line(build: Build, doing: Mapping[str, float], t: Array) -> tuple[Array, Array]:
    """The x of a mouth at t from −1 to 1, and how much its corners bend the line."""
    smile, smirk = doing["corner"], max(0.0, doing["smirk"])
    wider = 0.24 * max(0.0, smile) + 0.24 * doing["stretch"] - 0.16 * max(0.0, doing["jaw"])
    half = build.mouth_width * max(0.5, 1 + wider + 0.03 * max(0.0, doing["press"]))
    left, right = 0.16 * smile * _strength(build, -1), (0.16 * smile + 0.17 * smirk) * _strength(build, 1)
    x = np.where(t < 0, t, t * (1 + 0.12 * smirk)) * half
    # a little more than a parabola, so that the bend is steeper near the ends
    return x, -np.where(t < 0, left, right) * np.abs(t) ** 1.7 + 0.125 * (left + right)


def landmarks(face: Face, view: View) -> Array:
    """The 68 usual points in pixels, 68×2: jaw, brows, nose, eyes, lips, in the order of the iBUG 300-W markup."""
    chin = int(np.argmax(face.outline[:, 1]))
    right = face.outline[int(np.argmax(face.outline[:, 1] > -0.05)) : chin + 1]
    side = right[np.linspace(0, len(right) - 1, 9).round().astype(int)]  # from the temple down to the chin
    jaw = np.vstack([side * np.array([-1, 1]), side[-2::-1]])
    left_brow, right_brow = face.brows
    picks = np.linspace(0, len(left_brow) - 1, 5).round().astype(int)
    brows = np.vstack([left_brow[picks[::-1]], right_brow[picks]])
    eyes = np.vstack([part for eye in face.eyes for part in (eye.upper[[0, 5, 11, 16]], eye.lower[[11, 5]])])
    mouth = face.mouth
    outer = np.vstack([mouth.top[[0, 4, 7, 10, 13, 16, 20]], mouth.bottom[[16, 13, 10, 7, 4]]])
    inner = np.vstack([mouth.inner_top[[1, 7, 10, 13, 19]], mouth.inner_bottom[[13, 10, 7]]])
    return view.project(np.vstack([flat(jaw), lifted(brows), _nose(face), *map(lifted, (eyes, outer, inner))]))


def _nose(face: Face) -> Array:
    """The nine landmarks of the nose, which stands out from the head, 9×3."""
    tip_y, (wing_y, wing) = face.nose_tip[1], face.wing
    points = [(0.0, share * tip_y, height) for share, height in ((0.05, 0.05), (0.35, 0.14), (0.65, 0.22), (0.95, 0.3))]
    base = ((-1, 0.0, 0.06), (-0.5, 0.03, 0.15), (0, 0.05, 0.2), (0.5, 0.03, 0.15), (1, 0.0, 0.06))
    points += [(share * wing, wing_y + 0.04 + down, height) for share, down, height in base]
    x, y, over = np.array(points).T
    return np.column_stack([x, y, depth(x, y) + over])


def eye_centres(face: Face, view: View) -> Array:
    """The centres of the left and the right eye in pixels, 2×2: the mean of each one's corners."""
    corners = [eye.upper[[0, -1]].mean(axis=0) for eye in face.eyes]
    return view.project(lifted(np.vstack(corners)))
