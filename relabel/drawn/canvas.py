"""A picture that is drawn larger and reduced, with shading that is laid over it softly."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .geometry import Array, View, smooth

Colour = tuple[int, int, int]

OVERSAMPLING = 3
"""Pixels drawn a pixel kept, in each direction."""

_COARSE = 3
"""Soft shading is blurred so widely that it is drawn at a fraction of the size."""

_GREY = (128, 128, 128)
_SHADOW = (38, 20, 14)
"""A shadow on skin is warm."""


class Canvas:
    """Shapes in face units on a picture of `size` pixels; every one hides what was drawn before it.

    Args:
        background: the picture to draw on, whose size is the canvas's.
        view: from face units to pixels.
    """

    def __init__(self, background: Image.Image, view: View) -> None:
        self.size = background.size
        self.view = view
        width, height = self.size
        self.image = background.resize((width * OVERSAMPLING, height * OVERSAMPLING), Image.Resampling.NEAREST)
        self._draw = ImageDraw.Draw(self.image, "RGBA")
        self.mask = Image.new("L", self.size, 0)
        self._masking = ImageDraw.Draw(self.mask)
        self._soft = Image.new("RGB", (-(-width // _COARSE), -(-height // _COARSE)), _GREY)
        self._fine = Image.new("RGB", self.size, _GREY)
        self._shades = {False: ImageDraw.Draw(self._soft, "RGBA"), True: ImageDraw.Draw(self._fine, "RGBA")}

    def fill(self, points: Array, colour: Colour, alpha: float = 1.0, *, body: bool = False) -> None:
        """Fill a polygon of points N×3 or N×2 in face units; `body` says that light falls on it."""
        pixels = self.view.project(points)
        self._draw.polygon((pixels * OVERSAMPLING).ravel().tolist(), fill=(*colour, round(255 * alpha)))
        if body:
            self._masking.polygon(pixels.ravel().tolist(), fill=255)

    def stroke(self, points: Array, width: float | Array, colour: Colour, alpha: float = 1.0) -> None:
        """Draw a line along points, `width` face units wide, or of a width at each point."""
        self._draw.polygon(
            (self._band(points, width) * OVERSAMPLING).ravel().tolist(), fill=(*colour, round(255 * alpha))
        )

    def shade(self, points: Array, amount: float, *, fine: bool = False, tint: Colour | None = None) -> None:
        """Darken (amount above 0) or lighten a polygon softly, by up to ±1; `tint` colours it instead."""
        self._shade(self.view.project(points), amount, fine, tint)

    def crease(self, points: Array, width: float, amount: float) -> None:
        """A wrinkle: a fine soft line that is darkest in its middle; nothing for an amount of zero or less."""
        if amount > 0.02:
            tapered = width * np.sin(np.linspace(0.15, np.pi - 0.15, len(points)))
            self._shade(self._band(points, tapered), amount, True, None)

    def _shade(self, pixels: Array, amount: float, fine: bool, tint: Colour | None) -> None:
        colour = tint or (_SHADOW if amount > 0 else (255, 255, 255))
        places = pixels if fine else pixels / _COARSE
        self._shades[fine].polygon(places.ravel().tolist(), fill=(*colour, round(255 * min(1.0, abs(amount)))))

    def _band(self, points: Array, width: float | Array) -> Array:
        pixels = self.view.project(points)
        along = np.empty_like(pixels)
        along[1:-1] = pixels[2:] - pixels[:-2]
        along[0], along[-1] = pixels[1] - pixels[0], pixels[-1] - pixels[-2]
        half = 0.5 * self.view.scale * np.asarray(width) / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)
        across = np.column_stack([-along[:, 1] * half, along[:, 0] * half])
        return np.concatenate([pixels + across, (pixels - across)[::-1]])

    def finish(self) -> tuple[Array, Array]:
        """The reduced picture, H×W×3 from 0 to 255, and the factor of its shading, H×W×3 around 1."""
        unit = self.view.scale
        width, height = (side * _COARSE for side in self._soft.size)
        blurred = self._soft.filter(ImageFilter.GaussianBlur(0.075 * unit / _COARSE))
        soft = blurred.resize((width, height), Image.Resampling.BILINEAR).crop((0, 0, *self.size))
        fine = self._fine.filter(ImageFilter.BoxBlur(max(0.5, 0.022 * unit)))
        small = np.asarray(self.image.reduce(OVERSAMPLING), dtype=np.float32)
        shading = np.asarray(soft, dtype=np.float32) * np.asarray(fine, dtype=np.float32)
        return small, shading / 128.0**2


def disc(centre: Array | tuple[float, float], radius: float | tuple[float, float], points: int = 24) -> Array:
    """A circle or an ellipse as points N×2."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.asarray(np.asarray(centre) + np.column_stack([np.cos(angle), np.sin(angle)]) * np.asarray(radius))


def blob(points: list[tuple[float, float]]) -> Array:
    """A smooth closed shape through a few points."""
    return smooth(np.array(points), closed=True)


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two: `share` of the second."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float) -> Colour:
    """A colour closer to black."""
    return mixed(colour, (0, 0, 0), share)
