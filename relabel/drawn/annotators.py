"""Who labels the drawn faces: a careful crowd, and one hurried person with habits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .geometry import Array
from .state import CLASSES, EMOTIONS, State


@dataclass(frozen=True)
class Annotator:
    """Sees a state's levels through habits and noise, and names the strongest.

    Attributes:
        voters: how many people look; the most frequent answer counts, ties go to the class of the lower id.
        blur: standard deviation of the noise on every level and on their sum, new for each voter.
        gains: what a level is multiplied by before it is compared; 1 where not given.
        leaks: share of an emotion's level that is seen as another emotion as well, by (emotion, other).
        neutral_below: levels that sum to less are called neutral.
        slips: share of answers that are any class at random.
        classes: number of classes to choose from.
        va_noise: standard deviation of the noise on valence and on arousal.
    """

    voters: int
    blur: float
    neutral_below: float
    slips: float
    classes: int
    va_noise: float = 0.0
    gains: Mapping[str, float] = field(default_factory=dict)
    leaks: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def sees(self) -> Array:
        """The 7×7 matrix from levels to levels as seen, in the order of the `EMOTIONS`."""
        matrix = np.diag([self.gains.get(emotion, 1.0) for emotion in EMOTIONS])
        for (emotion, other), share in self.leaks.items():
            matrix[EMOTIONS.index(emotion), EMOTIONS.index(other)] += share
        return matrix

    def votes(self, state: State, random: np.random.Generator) -> Array:
        """Answers of all voters as counts of the eight classes.

        Each voter first sees whether there is an expression at all, by the sum of the levels, then which is the
        strongest; both with noise.
        """
        emotions = self.classes - 1
        seen = (state.levels @ self.sees())[:emotions]
        total = float(seen.sum()) + self.blur * random.standard_normal(self.voters)
        noisy = seen + self.blur * random.standard_normal((self.voters, emotions))
        named = np.where(total < self.neutral_below, 0, 1 + noisy.argmax(axis=1))
        slipped = random.random(self.voters) < self.slips
        anything = random.integers(0, self.classes, self.voters)
        return np.bincount(np.where(slipped, anything, named), minlength=len(CLASSES))

    def expression(self, state: State, random: np.random.Generator) -> int:
        """The class id that this annotator gives."""
        return int(self.votes(state, random).argmax())

    def valence_arousal(self, state: State, random: np.random.Generator) -> tuple[float, float]:
        """Valence and arousal that this annotator gives, each within [-1, 1]."""
        noisy = np.array(state.valence_arousal) + self.va_noise * random.standard_normal(2)
        valence, arousal = np.clip(noisy, -1.0, 1.0)
        return float(valence), float(arousal)


CROWD = Annotator(voters=40, blur=0.16, neutral_below=0.3, slips=0.05, classes=7)
"""Careful: the majority of forty noisy votes, without habits."""

HURRIED = Annotator(
    voters=1,
    blur=0.12,
    neutral_below=0.33,
    slips=0.06,
    classes=8,
    va_noise=0.12,
    gains={"disgust": 0.85, "anger": 1.05, "surprise": 0.9, "sad": 0.85},
    leaks={("disgust", "anger"): 0.3, ("surprise", "fear"): 0.45, ("fear", "surprise"): 0.4},
)
"""One person who takes disgust for anger, surprise and fear for each other, and sad for neutral faces."""
