"""The two drawn datasets: what is felt, how pictures look, who labels; and one sample of either."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ...core.streams import rng
from .annotators import CROWD, HURRIED, Annotator
from .casting import draw_person, draw_scene, expressed
from .geometry import Array
from .looks import Looks, Scene, Style
from .picture import draw_empty, draw_picture
from .shape import eye_centres, landmarks, shape_face
from .state import CALM, CLASSES, Moods, State, draw_state

NONE, UNCERTAIN, NO_FACE = 8, 9, 10
"""What AffectNet's annotators answer where no expression can be named."""

_SECONDS: Mapping[str, Mapping[str, float]] = {
    "neutral": {"sad": 5, "happy": 3, "anger": 2, "surprise": 1, "disgust": 1},
    "happy": {"surprise": 3, "fear": 1, "disgust": 1, "sad": 1},
    "sad": {"fear": 2, "anger": 2, "disgust": 2, "surprise": 0.5},
    "surprise": {"fear": 6, "happy": 2, "sad": 0.5, "anger": 0.5},
    "fear": {"surprise": 4, "happy": 2, "anger": 2, "sad": 2},
    "disgust": {"anger": 6, "sad": 2, "happy": 1, "fear": 1},
    "anger": {"disgust": 4, "sad": 1, "fear": 1.5},
    "contempt": {"happy": 3, "disgust": 2, "anger": 1},
}


@dataclass(frozen=True)
class World:
    """A drawn dataset.

    Attributes:
        name: also of its source and folder.
        moods: what is felt in training images.
        held_out_moods: what is felt in the other images.
        style: what pictures look like.
        annotator: who labels.
        unnamed: share of the training images that are None, Uncertain or No-Face.
    """

    name: str
    moods: Moods
    held_out_moods: Moods
    style: Style
    annotator: Annotator
    unnamed: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Drawn:
    """One sample: its picture, its truth, and what its annotator says.

    Attributes:
        image: the picture.
        quality: of the JPEG it is to be saved as.
        state: the truth; None where there is no face.
        expression: the annotator's class id, or 8 to 10 for none.
        valence_arousal: the annotator's; None where there is none.
        looks: the person; their age and gender are labels too.
        landmarks: 68×2 in pixels.
        eyes: the eyes' centres, 2×2 in pixels.
    """

    image: Image.Image
    quality: int
    state: State | None
    expression: int
    valence_arousal: tuple[float, float] | None
    looks: Looks
    landmarks: Array
    eyes: Array


_RAF_MOODS = Moods(
    frequencies={"neutral": 2524, "happy": 4772, "sad": 1982, "surprise": 1290}
    | {"fear": 281, "disgust": 717, "anger": 705},
    blends={"happy": 0.2, "sad": 0.3, "surprise": 0.5, "fear": 0.85, "disgust": 0.7, "anger": 0.5},
    seconds=_SECONDS,
    faint={"happy": 0.2, "sad": 0.33, "surprise": 0.2, "fear": 0.3, "disgust": 0.4, "anger": 0.15},
)
RAF = World(
    "raf",
    _RAF_MOODS,
    _RAF_MOODS,
    Style(
        skins=(2, 4, 3, 2, 1.5, 1),
        hairs=(4, 3, 3, 2, 2, 1, 1),
        narrow=0.15,
        hair_styles=(1, 1, 3, 3, 2, 3, 2, 2),
        ages=(0.0, 0.9),
        side=(170, 300),
        face_share=(0.42, 0.6),
        turn=(0.2, 0.12, 0.14),
        clutter=7,
        pale=0.35,
        contrast=(0.3, 0.9),
        warmth=(-0.6, 1.0),
        occluded=0.12,
        glasses=0.12,
        makeup=0.3,
        blur=(0.0, 0.008),
        grain=(0.0, 5.0),
        quality=(80, 95),
        grey=0.03,
        ink=(0.7, 1.1),
        expressive=(0.8, 1.15),
        restless=0.105,
    ),
    CROWD,
)

_AFFECTNET_MOODS = Moods(
    frequencies={"neutral": 75, "happy": 125, "sad": 40, "surprise": 30}
    | {"fear": 26, "disgust": 30, "anger": 32, "contempt": 5},
    blends={"happy": 0.15, "sad": 0.3, "surprise": 0.4, "fear": 0.6, "disgust": 0.65, "anger": 0.4, "contempt": 0.3},
    seconds=_SECONDS,
    faint={"happy": 0.15, "sad": 0.3, "surprise": 0.15, "fear": 0.1, "disgust": 0.25, "anger": 0.15, "contempt": 0.2},
)
AFFECTNET = World(
    "affectnet",
    _AFFECTNET_MOODS,
    replace(_AFFECTNET_MOODS, frequencies=dict.fromkeys(CLASSES, 1)),
    Style(
        skins=(5, 4, 2, 1, 0.6, 0.3),
        hairs=(2, 3, 3, 3, 4, 2, 2),
        narrow=0.08,
        hair_styles=(1.5, 1.5, 4, 2, 1, 3, 1, 1),
        ages=(0.2, 1.0),
        side=(150, 240),
        face_share=(0.6, 0.78),
        turn=(0.14, 0.1, 0.09),
        clutter=3,
        pale=0.55,
        contrast=(0.1, 0.6),
        warmth=(-1.0, 0.4),
        occluded=0.06,
        glasses=0.08,
        makeup=0.5,
        blur=(0.003, 0.014),
        grain=(2.0, 10.0),
        quality=(45, 80),
        grey=0.12,
        ink=(0.9, 1.5),
        expressive=(0.9, 1.25),
        restless=0.085,
    ),
    HURRIED,
    unnamed=(0.02, 0.02, 0.02),
)


def sample_state(world: World, seed: int, split: str, index: int) -> tuple[State | None, int]:
    """The state of the sample of a world at an index, and 0, or the kind of an image that gets no expression.

    A No-Face image has no state.
    """
    random = rng(seed, "make-faces", world.name, split, index, "state")
    unnamed = _unnamed(world, random)
    state = draw_state(world.moods if split == "train" else world.held_out_moods, random)
    return None if unnamed == NO_FACE else state, unnamed


def draw_sample(world: World, seed: int, split: str, index: int) -> Drawn:
    """The sample of a world at an index: the same whatever else is drawn."""
    stream = functools.partial(rng, seed, "make-faces", world.name, split, index)
    state, unnamed = sample_state(world, seed, split, index)
    person, labels = stream("person"), stream("labels")
    build, looks = draw_person(world.style, person)
    scene = draw_scene(world.style, stream("scene"))
    if unnamed == UNCERTAIN:
        scene = _spoiled(scene)
    actions = (state or CALM).actions()
    face = shape_face(build, expressed(actions, world.style, person))
    picture = draw_empty if state is None else functools.partial(draw_picture, face, looks)
    return Drawn(
        picture(scene, stream("picture")),
        scene.quality,
        state,
        world.annotator.expression(state, labels) if state is not None and not unnamed else unnamed,
        world.annotator.valence_arousal(state, labels) if state is not None and unnamed != UNCERTAIN else None,
        looks,
        landmarks(face, scene.view),
        eye_centres(face, scene.view),
    )


def _unnamed(world: World, random: np.random.Generator) -> int:
    draw = random.random()
    for share, kind in zip(world.unnamed, (NONE, UNCERTAIN, NO_FACE), strict=True):
        if draw < share:
            return kind
        draw -= share
    return 0


def _spoiled(scene: Scene) -> Scene:
    return replace(scene, blur=0.12 * scene.view.scale, grain=14.0, quality=30)


def affectnet_name(seed: int, split: str, index: int) -> str:
    """The path of a drawn AffectNet image, in the dataset's manner: a numbered folder and a hash."""
    digest = hashlib.sha224(f"{seed} {split} {index}".encode()).hexdigest()
    return f"{1 + int(digest[:8], 16) % 20}/{digest}.jpg"
