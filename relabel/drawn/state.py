"""The emotional state under a drawn face: expression, valence, arousal and what the face does follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..sources.base import CONTEMPT, EXPRESSIONS

Array = np.ndarray[Any, Any]

CLASSES = (*EXPRESSIONS, CONTEMPT)
"""The eight expressions by their ids; id 0 is neutral, the absence of the others."""

EMOTIONS = CLASSES[1:]
"""The seven emotions that a state has a level of."""

NEUTRAL_BELOW = 0.3
"""A state whose levels sum to less is neutral."""

CIRCUMPLEX = {
    "happy": (0.8, 0.3),
    "sad": (-0.6, -0.3),
    "surprise": (0.1, 0.8),
    "fear": (-0.6, 0.8),
    "disgust": (-0.7, 0.3),
    "anger": (-0.6, 0.7),
    "contempt": (-0.5, 0.2),
}
"""Valence and arousal of each emotion at level 1; a calm face is at the origin."""

ACTIONS = (
    "brow_inner",  # raised (+) or lowered (−) inner ends of the brows
    "brow_outer",  # the same for the outer ends
    "brow_squeeze",  # brows drawn together
    "eye_open",  # upper lids raised (+) or drooping (−)
    "lid_tension",  # lower lids pulled up
    "cheek",  # cheeks raised
    "nose_wrinkle",
    "upper_lip",  # raised
    "corner",  # mouth corners up (+) or down (−)
    "smirk",  # one corner alone
    "stretch",  # lips wide (+) or pursed (−)
    "jaw",  # mouth open
    "teeth",  # lips apart over the teeth
    "press",  # lips pressed together
    "chin",  # chin raised, lower lip pushed up
)
"""What a face can do, 0 to 1 or −1 to 1, close to the action units of the Facial Action Coding System."""

_PROTOTYPES: dict[str, tuple[Mapping[str, float], Mapping[str, float]]] = {
    "happy": (
        {"corner": 0.95, "cheek": 0.8, "lid_tension": 0.35, "eye_open": -0.25, "stretch": 0.35, "teeth": 0.15},
        {"corner": 1.0, "cheek": 1.0, "lid_tension": 0.4, "eye_open": -0.3, "stretch": 0.5, "jaw": 0.45, "teeth": 1.0},
    ),
    "sad": (
        {"brow_inner": 0.8, "brow_outer": -0.45, "brow_squeeze": 0.35, "eye_open": -0.45, "corner": -0.85, "chin": 0.5},
        {"brow_inner": 0.9, "brow_outer": -0.4, "brow_squeeze": 0.5, "eye_open": -0.6, "corner": -0.7, "jaw": 0.2},
    ),
    "surprise": (
        {"brow_inner": 0.9, "brow_outer": 0.9, "eye_open": 0.75, "jaw": 0.55, "stretch": -0.3},
        {"brow_inner": 1.0, "brow_outer": 1.0, "eye_open": 0.9, "jaw": 1.0, "stretch": -0.35},
    ),
    "fear": (
        {"brow_inner": 0.85, "brow_outer": 0.35, "brow_squeeze": 0.6, "eye_open": 0.85, "lid_tension": 0.35}
        | {"stretch": 0.6, "jaw": 0.15, "teeth": 0.3, "corner": -0.3},
        {"brow_inner": 0.9, "brow_outer": 0.5, "brow_squeeze": 0.6, "eye_open": 1.0, "lid_tension": 0.25}
        | {"stretch": 0.75, "jaw": 0.65, "teeth": 0.6, "corner": -0.25},
    ),
    "disgust": (
        {"brow_inner": -0.55, "brow_outer": -0.3, "brow_squeeze": 0.45, "eye_open": -0.4, "lid_tension": 0.65}
        | {"cheek": 0.5, "nose_wrinkle": 1.0, "upper_lip": 0.8, "corner": -0.35, "chin": 0.4},
        {"brow_inner": -0.5, "brow_outer": -0.3, "brow_squeeze": 0.4, "eye_open": -0.5, "lid_tension": 0.7}
        | {"cheek": 0.6, "nose_wrinkle": 1.0, "upper_lip": 1.0, "corner": -0.3, "jaw": 0.35, "teeth": 0.6},
    ),
    "anger": (
        {"brow_inner": -0.95, "brow_outer": 0.1, "brow_squeeze": 1.0, "eye_open": 0.2, "lid_tension": 0.65}
        | {"press": 0.9, "corner": -0.35, "chin": 0.3, "nose_wrinkle": 0.15},
        {"brow_inner": -1.0, "brow_outer": 0.15, "brow_squeeze": 1.0, "eye_open": 0.35, "lid_tension": 0.6}
        | {"jaw": 0.6, "teeth": 0.9, "stretch": 0.3, "corner": -0.3, "nose_wrinkle": 0.45, "upper_lip": 0.4},
    ),
    "contempt": (
        {"smirk": 1.0, "eye_open": -0.2, "brow_outer": 0.1, "lid_tension": 0.15},
        {"smirk": 1.0, "eye_open": -0.1, "brow_inner": -0.2, "brow_outer": 0.35, "chin": 0.3, "press": 0.3},
    ),
}
"""Each emotion at level 1 in a closed and an open form; a state lies between the two."""

_CLOSED, _OPEN = (
    np.array([[_PROTOTYPES[emotion][form].get(action, 0.0) for action in ACTIONS] for emotion in EMOTIONS])
    for form in (0, 1)
)
_POSITIONS = np.array([CIRCUMPLEX[emotion] for emotion in EMOTIONS])


@dataclass(frozen=True)
class State:
    """What a person feels.

    Attributes:
        levels: of the seven `EMOTIONS`, each from 0 to 1.
        openness: 0 for the closed form of its expression, 1 for the open one.
    """

    levels: Array
    openness: float

    @property
    def intensity(self) -> float:
        """The sum of the levels, at most 1."""
        return min(1.0, float(self.levels.sum()))

    @property
    def expression(self) -> int:
        """The class id: neutral where the levels sum to less than `NEUTRAL_BELOW`, else the strongest emotion."""
        return strongest(self.levels)

    @property
    def valence_arousal(self) -> tuple[float, float]:
        """The sum of level times position on the `CIRCUMPLEX`, moved onto the unit circle where it lies outside."""
        point = self.levels @ _POSITIONS
        point = point / max(1.0, float(np.hypot(*point)))
        return float(point[0]), float(point[1])

    def actions(self) -> dict[str, float]:
        """The face's actions: the sum of level times prototype."""
        forms = (1 - self.openness) * _CLOSED + self.openness * _OPEN
        return dict(zip(ACTIONS, (self.levels @ forms).tolist(), strict=True))


CALM = State(np.zeros(len(EMOTIONS)), 0.0)
"""Nothing is felt."""


def strongest(levels: Array, neutral_below: float = NEUTRAL_BELOW) -> int:
    """The class id of levels of the `EMOTIONS`: neutral below a sum, else the largest one."""
    return 0 if float(levels.sum()) < neutral_below else 1 + int(levels.argmax())


@dataclass(frozen=True)
class Moods:
    """How often what is felt, and how purely.

    Attributes:
        frequencies: relative frequency of each expression.
        blends: share of faces with a second emotion, by expression.
        seconds: which second emotion, by expression, as relative frequencies.
        faint: share of faces of an emotion that show it only faintly, by expression.
    """

    frequencies: Mapping[str, float]
    blends: Mapping[str, float]
    seconds: Mapping[str, Mapping[str, float]]
    faint: Mapping[str, float]


def draw_state(moods: Moods, random: np.random.Generator) -> State:
    """A random state; blends and faint ones are drawn close to the border of another expression."""
    names = list(moods.frequencies)
    expression = names[_choice(list(moods.frequencies.values()), random)]
    return state_of(expression, moods, random)


def state_of(expression: str, moods: Moods, random: np.random.Generator) -> State:
    """A random state whose expression is this one."""
    levels = np.zeros(len(EMOTIONS))
    openness = float(random.beta(0.9, 0.9))
    seconds = moods.seconds[expression]
    second = EMOTIONS.index(list(seconds)[_choice(list(seconds.values()), random)])
    if expression == CLASSES[0]:
        levels[second] = NEUTRAL_BELOW * random.beta(1.0, 1.8) * 0.97
        return State(levels, openness)
    first = EMOTIONS.index(expression)
    if random.random() < moods.faint.get(expression, 0.0):
        levels[first] = random.uniform(NEUTRAL_BELOW + 0.01, 0.5)
    else:
        levels[first] = 0.5 + 0.5 * random.beta(1.6, 1.2)
    if random.random() < moods.blends.get(expression, 0.0):
        share = random.beta(2.2, 1.4) * 0.98  # of the first level, which stays the largest
        levels[second] = share * levels[first]
        levels /= max(1.0, float(levels.sum()) / 1.15)
    return State(levels, openness)


def _choice(weights: list[float], random: np.random.Generator) -> int:
    shares = np.array(weights, dtype=float)
    return int(random.choice(len(weights), p=shares / shares.sum()))
