"""Points on a head in face units, curves through them, and where they come to lie in a picture.

One unit is half the width of the head. x goes to the right of the picture, y down, z to the viewer; the origin lies
between the eyes' height and the nose, on the axis of the head. Sides are those of the picture: −1 left, +1 right.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SIDES = (-1, 1)


@dataclass(frozen=True)
class View:
    """From face units to pixels.

    Attributes:
        yaw: turn to the right of the picture, in radians.
        pitch: nod downwards.
        roll: tilt clockwise in the picture.
        scale: pixels a unit.
        centre: pixel of the origin.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float
    centre: tuple[float, float]

    @functools.cached_property
    def rotation(self) -> Array:
        """3×3: roll after pitch after yaw."""
        (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (self.yaw, self.pitch, self.roll))
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return np.asarray(roll @ pitch @ yaw)

    def project(self, points: Array) -> Array:
        """Points N×3 (N×2 lie on the head's surface) to pixels N×2, with a slight perspective."""
        if points.shape[1] == 2:
            points = lifted(points)
        turned = points @ self.rotation.T
        nearer = self.scale * (1 + 0.07 * turned[:, 2:])
        return np.asarray(turned[:, :2] * nearer + np.array(self.centre))


def moved(points: Array, x: float, y: float) -> Array:
    """Points N×2, or one point, elsewhere."""
    return np.asarray(points + np.array([x, y]))


def depth(x: Array, y: Array) -> Array:
    """Height of the head's surface over the plane of its outline."""
    return np.asarray(0.85 * np.sqrt(np.maximum(0.0, 1 - (x / 1.06) ** 2 - (y / 1.6) ** 2)))


def lifted(points: Array, over: float = 0.0) -> Array:
    """Points N×2 on the head's surface as N×3, `over` units above it."""
    return np.column_stack([points, depth(points[:, 0], points[:, 1]) + over])


def flat(points: Array, z: float = 0.0) -> Array:
    """Points N×2 in a plane z as N×3."""
    return np.column_stack([points, np.full(len(points), z)])


@functools.lru_cache(maxsize=32)
def _basis(steps: int) -> Array:
    t = np.arange(steps)[:, None] / steps
    rows = [-0.5 * t + t**2 - 0.5 * t**3, 1 - 2.5 * t**2 + 1.5 * t**3, 0.5 * t + 2 * t**2 - 1.5 * t**3]
    return np.hstack([*rows, -0.5 * t**2 + 0.5 * t**3])


def smooth(points: Array, *, closed: bool = False, steps: int = 6) -> Array:
    """A Catmull-Rom curve through points N×D."""
    if closed:
        padded = np.vstack([points[-1:], points, points[:2]])
    else:
        padded = np.vstack([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    windows = np.stack([padded[start : len(padded) - 3 + start] for start in range(4)], axis=1)
    curve = np.einsum("sk,nkd->nsd", _basis(steps), windows).reshape(-1, points.shape[1])
    return curve if closed else np.vstack([curve, points[-1:]])


def mirrored(right: Array) -> Array:
    """A closed outline from its right half, given from top to bottom."""
    left = right[::-1] * np.array([-1, 1])
    inner = left[1:] if np.isclose(right[-1, 0], 0) else left
    return np.vstack([right, inner[:-1] if np.isclose(right[0, 0], 0) else inner])
