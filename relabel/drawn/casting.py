"""Who is drawn, and where: random people and scenes of a style."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .canvas import Colour, darker, mixed
from .geometry import Array, View
from .looks import CLOTHES, HAIR_STYLES, HAIRS, IRISES, SKINS, Looks, Scene, Style
from .shape import Build
from .state import ACTIONS

_WOMENS_HAIR = (0.02, 0.02, 0.6, 0.8, 1, 2.5, 1.2, 1)
_MENS_HAIR = (1, 1, 2, 2, 0.7, 0.2, 0.1, 0.7)
"""How much more often than the style's weights say, in the order of `HAIR_STYLES`."""


def draw_person(style: Style, random: np.random.Generator) -> tuple[Build, Looks]:
    """A random person."""
    woman, narrow = bool(random.random() < 0.5), bool(random.random() < style.narrow)
    build = _build(style, woman, random)
    if narrow:
        build = replace(build, eye_height=0.8 * build.eye_height, eye_tilt=build.eye_tilt + 0.12)
    return build, _looks(style, woman, narrow, random)


def _build(style: Style, woman: bool, random: np.random.Generator) -> Build:
    near = functools.partial(_near, random)
    rest = dict(zip(ACTIONS, (style.restless * random.standard_normal(len(ACTIONS))).tolist(), strict=True))
    for action in ("jaw", "teeth", "press", "nose_wrinkle", "upper_lip", "smirk"):
        rest[action] *= 0.35
    return Build(
        jaw=near(0.81 if woman else 0.87, 0.035, 0.7, 0.95),
        chin=near(1.2, 0.05, 1.08, 1.34),
        chin_width=near(0.4 if woman else 0.47, 0.04, 0.28, 0.6),
        skull=near(1.36, 0.05, 1.25, 1.5),
        eye_distance=near(0.415, 0.018, 0.37, 0.46),
        eye_size=near(0.19, 0.012, 0.16, 0.22),
        eye_height=near(0.092 if woman else 0.083, 0.009, 0.06, 0.115),
        eye_tilt=near(0.09, 0.09, -0.15, 0.33),
        brow_height=near(0.215 if woman else 0.185, 0.025, 0.13, 0.29),
        brow_arch=near(0.055 if woman else 0.035, 0.018, 0.0, 0.1),
        brow_thickness=near(0.055 if woman else 0.08, 0.013, 0.03, 0.12),
        nose_length=near(0.5, 0.035, 0.42, 0.6),
        nose_width=near(0.175, 0.022, 0.13, 0.25),
        mouth_width=near(0.34, 0.024, 0.27, 0.41),
        lips=near(0.1 if woman else 0.085, 0.016, 0.05, 0.15),
        rest=rest,
        lopsided=near(0, 0.2, -0.6, 0.6),
    )


def _looks(style: Style, woman: bool, narrow: bool, random: np.random.Generator) -> Looks:
    skin = _between(SKINS, _choice(style.skins, random) + random.uniform(-0.45, 0.45))
    age = float(np.clip(random.uniform(*style.ages) + random.normal(0, 0.12), 0, 1))
    hair = HAIRS[_choice(style.hairs, random)]
    if age > 0.7 and random.random() < 0.7:
        hair = HAIRS[-1]
    hair = mixed(hair, _colour(random, 0, 255), 0.06)
    hair_styles = np.array(style.hair_styles) * (_WOMENS_HAIR if woman else _MENS_HAIR)
    makeup = woman and bool(random.random() < style.makeup)
    lip = mixed(mixed(skin, (176, 70, 74), 0.5), (176, 24, 50), 0.6 if makeup else 0.0)
    shaved = woman or age < 0.15 or random.random() < 0.55
    return Looks(
        skin=skin,
        lip=lip,
        hair=hair,
        brow=mixed(darker(hair, 0.25), skin, 0.12),
        iris=IRISES[_choice((0.4, 0.25, 0.12, 0.15, 0.08), random)],
        eyeshadow=mixed((70, 50, 80), (120, 70, 60), random.random()),
        cloth=CLOTHES[random.integers(len(CLOTHES))],
        hair_style=HAIR_STYLES[_choice(hair_styles, random)],
        beard=0.0 if shaved else float(random.uniform(0.3, 1)),
        age=age,
        woman=woman,
        narrow=narrow,
        makeup=makeup,
        glasses=bool(random.random() < style.glasses),
        gaze=(_near(random, 0, 0.025, -0.06, 0.06), _near(random, 0, 0.012, -0.03, 0.03)),
        light=_light(random),
        ink=float(random.uniform(*style.ink)),
    )


def _light(random: np.random.Generator) -> tuple[float, float, float]:
    angle, height = random.uniform(-1.1, 1.1), random.uniform(-0.9, 0.1)
    x, y, z = np.array([np.sin(angle), height, np.cos(angle)]) / np.hypot(1, height)
    return float(x), float(y), float(z)


def draw_scene(style: Style, random: np.random.Generator) -> Scene:
    """A random picture around a person."""
    short = int(random.integers(*style.side, endpoint=True))
    size = (short, round(short * random.uniform(1.0, 1.3)))
    if random.random() < 0.3:
        size = size[::-1]
    head = short * random.uniform(*style.face_share)
    yaw, pitch, roll = (_near(random, 0, spread, -2.2 * spread, 2.2 * spread) for spread in style.turn)
    slack = np.maximum(0.0, np.array(size) - head * np.array([1.1, 1.4])) / 2
    centre = np.array(size) / 2 + slack * random.uniform(-0.5, 0.5, 2)
    colours = [mixed(_colour(random, 20, 240), (128, 128, 128), style.pale) for _ in range(2)]
    warm = random.uniform(*style.warmth)
    return Scene(
        size=size,
        view=View(yaw, pitch, roll, head / 2, (float(centre[0]), float(centre[1]))),
        backdrop=(colours[0], colours[1]),
        clutter=int(random.integers(0, style.clutter, endpoint=True)),
        contrast=float(random.uniform(*style.contrast)),
        occluder=("hand", "scarf", "strand")[random.integers(3)] if random.random() < style.occluded else "none",
        cast=(1 + 0.12 * warm, 1.0, 1 - 0.14 * warm),
        gamma=float(np.exp(random.normal(0, 0.16))),
        blur=float(head * random.uniform(*style.blur)),
        grain=float(random.uniform(*style.grain)),
        quality=int(random.integers(*style.quality, endpoint=True)),
        grey=bool(random.random() < style.grey),
    )


def expressed(actions: Mapping[str, float], style: Style, random: np.random.Generator) -> dict[str, float]:
    """A state's actions as one person does them: each a little stronger or weaker."""
    factor = random.uniform(*style.expressive)
    own = np.exp(0.18 * random.standard_normal(len(actions)))
    return {name: float(value * factor * times) for (name, value), times in zip(actions.items(), own, strict=True)}


def _near(random: np.random.Generator, mean: float, spread: float, low: float, high: float) -> float:
    """A normal number, moved into a range."""
    return float(np.clip(random.normal(mean, spread), low, high))


def _choice(weights: Sequence[float] | Array, random: np.random.Generator) -> int:
    shares = np.asarray(weights, dtype=float)
    return int(random.choice(len(shares), p=shares / shares.sum()))


def _colour(random: np.random.Generator, low: int, high: int) -> Colour:
    red, green, blue = random.integers(low, high, 3).tolist()
    return red, green, blue


def _between(colours: tuple[Colour, ...], place: float) -> Colour:
    place = min(max(place, 0.0), len(colours) - 1.0)
    low = min(int(place), len(colours) - 2)
    return mixed(colours[low], colours[low + 1], place - low)
