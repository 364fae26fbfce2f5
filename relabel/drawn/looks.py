"""How a person and a scene look, and how a dataset's pictures differ from another's."""

from __future__ import annotations

from dataclasses import dataclass

from .canvas import Colour
from .geometry import View

SKINS = ((232, 200, 182), (224, 182, 154), (208, 160, 126), (180, 130, 94), (138, 92, 64), (94, 62, 46))
"""From light to dark."""

HAIRS = ((28, 22, 20), (58, 38, 26), (96, 62, 38), (146, 104, 60), (206, 168, 104), (150, 66, 36), (168, 166, 164))
IRISES = ((70, 42, 24), (98, 62, 34), (92, 104, 62), (86, 124, 148), (110, 120, 128))
CLOTHES = ((52, 70, 110), (128, 44, 50), (40, 44, 48), (196, 190, 180), (70, 104, 78), (190, 140, 60), (110, 80, 120))
HAIR_STYLES = ("bald", "receding", "short", "side", "fringe", "long", "bun", "curly")


@dataclass(frozen=True)
class Looks:
    """A person's colours and what they wear.

    Attributes:
        skin, lip, hair, brow, iris, eyeshadow, cloth: colours.
        hair_style: one of `HAIR_STYLES`.
        beard: 0 none, up to 1 full.
        age: 0 young, 1 old.
        woman: written into the attributes.
        narrow: narrow eyes with a low crease; written into the attributes.
        makeup: painted eyes and lips.
        glasses: they wear some.
        gaze: where the irises are, in face units from the eyes' centres.
        light: direction of the light, x y z, of length 1.
        ink: strength of drawn lines; 1 for plain ones.
    """

    skin: Colour
    lip: Colour
    hair: Colour
    brow: Colour
    iris: Colour
    eyeshadow: Colour
    cloth: Colour
    hair_style: str
    beard: float
    age: float
    woman: bool
    narrow: bool
    makeup: bool
    glasses: bool
    gaze: tuple[float, float]
    light: tuple[float, float, float]
    ink: float


@dataclass(frozen=True)
class Scene:
    """Everything about a picture but its person.

    Attributes:
        size: width and height in pixels.
        view: where the head is.
        backdrop: two colours of the background.
        clutter: number of shapes in it.
        contrast: of the light on the head, 0 to 1.
        occluder: what hides a part of the face: `hand`, `scarf`, `strand`, `none`.
        cast: factors of red, green and blue.
        gamma: of the camera.
        blur: radius in pixels.
        grain: standard deviation of the noise, of 255.
        quality: of the JPEG.
        grey: without colours.
    """

    size: tuple[int, int]
    view: View
    backdrop: tuple[Colour, Colour]
    clutter: int
    contrast: float
    occluder: str
    cast: tuple[float, float, float]
    gamma: float
    blur: float
    grain: float
    quality: int
    grey: bool


@dataclass(frozen=True)
class Style:
    """What a dataset's pictures are like: ranges are (low, high), weights relative.

    Attributes:
        skins: weights of the `SKINS`.
        hairs: weights of the `HAIRS`.
        narrow: share of people with narrow eyes.
        hair_styles: weights of the `HAIR_STYLES`.
        ages: of the mean age, 0 to 1.
        side: length of the picture's shorter side in pixels.
        face_share: a head's width as a share of the shorter side.
        turn: standard deviation of yaw, pitch and roll in radians.
        clutter: most shapes in a background.
        pale: how grey the backgrounds are, 0 to 1.
        contrast: of the light.
        warmth: of the light, −1 cold to 1 warm.
        occluded: share of faces with something before them.
        glasses: share of faces with glasses.
        makeup: share of women with makeup.
        blur: as a share of the head's width.
        grain: noise.
        quality: JPEG quality.
        grey: share of pictures without colours.
        ink: strength of lines.
        expressive: factor of all actions.
        restless: standard deviation of what a face does at rest.
    """

    skins: tuple[float, ...]
    hairs: tuple[float, ...]
    narrow: float
    hair_styles: tuple[float, ...]
    ages: tuple[float, float]
    side: tuple[int, int]
    face_share: tuple[float, float]
    turn: tuple[float, float, float]
    clutter: int
    pale: float
    contrast: tuple[float, float]
    warmth: tuple[float, float]
    occluded: float
    glasses: float
    makeup: float
    blur: tuple[float, float]
    grain: tuple[float, float]
    quality: tuple[int, int]
    grey: float
    ink: tuple[float, float]
    expressive: tuple[float, float]
    restless: float
