"""From a face and a scene to pixels: backdrop, drawing, light, camera."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import Canvas
from .features import draw_features
from .geometry import Array
from .head import draw_beard, draw_behind, draw_glasses, draw_hair, draw_occluder, draw_skin
from .looks import Looks, Scene
from .shape import Face

_COARSE = 4
"""A backdrop is out of focus, so that it is drawn at a fraction of the size."""


def draw_picture(face: Face, looks: Looks, scene: Scene, random: np.random.Generator) -> Image.Image:
    """A person in a scene, as a camera has it (before the JPEG)."""
    backdrop = draw_backdrop(scene, random)
    canvas = Canvas(backdrop, scene.view)
    draw_behind(canvas, face, looks)
    draw_skin(canvas, face, looks)
    draw_beard(canvas, face, looks)
    draw_features(canvas, face, looks)
    draw_hair(canvas, face, looks, random)
    draw_glasses(canvas, face, looks, random)
    draw_occluder(canvas, face, looks, scene.occluder, random)
    pixels, shading = canvas.finish()
    lit = shading * _light(looks, scene)[..., None]
    body = np.asarray(canvas.mask.filter(ImageFilter.BoxBlur(0.04 * scene.view.scale)), dtype=np.float32) / 255
    return _photographed(pixels * (1 + body[..., None] * (lit - 1)), scene, random)


def draw_empty(scene: Scene, random: np.random.Generator) -> Image.Image:
    """A scene without a person."""
    return _photographed(np.asarray(draw_backdrop(scene, random), dtype=np.float32), scene, random)


def draw_backdrop(scene: Scene, random: np.random.Generator) -> Image.Image:
    """A gradient of two colours with some shapes out of focus."""
    width, height = (max(8, side // _COARSE) for side in scene.size)
    slope = random.normal(0, 1, 2)
    across = np.linspace(-0.5, 0.5, width)[None, :] * slope[0] + np.linspace(-0.5, 0.5, height)[:, None] * slope[1]
    share = np.clip(0.5 + 0.5 * across, 0, 1)[..., None]
    first, second = (np.array(colour) for colour in scene.backdrop)
    image = Image.fromarray((first * (1 - share) + second * share).astype(np.uint8))
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(scene.clutter):
        colour = (*random.integers(20, 235, 3).tolist(), int(random.integers(60, 200)))
        x, y = random.uniform(-0.2, 1.0, 2) * (width, height)
        w, h = random.uniform(0.05, 0.5, 2) * (width, height)
        shape = (draw.ellipse, draw.rectangle)[int(random.integers(2))]
        shape((x, y, x + w, y + h), fill=colour)
    if scene.clutter:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.006, 0.05) * width))
    return image.resize(scene.size, Image.Resampling.BICUBIC)


def _light(looks: Looks, scene: Scene) -> Array:
    """Lambert's cosine on an egg in the place of the head, H×W around 1."""
    width, height = scene.size
    view = scene.view
    across = (np.arange(width, dtype=np.float32)[None, :] - view.centre[0]) / view.scale
    down = (np.arange(height, dtype=np.float32)[:, None] - view.centre[1]) / view.scale
    x, y = across / 1.25, down / 1.75
    z = np.sqrt(np.maximum(0.06, 1 - x**2 - y**2))
    cosine = (x * looks.light[0] + y * looks.light[1] + z * looks.light[2]) / np.sqrt(x**2 + y**2 + z**2)
    shade: Array = 1 + scene.contrast * (np.maximum(cosine, -0.3) - 0.75)
    return shade


def _photographed(pixels: Array, scene: Scene, random: np.random.Generator) -> Image.Image:
    """The scene's colour cast, gamma, blur and grain."""
    levels = np.arange(256) / 255
    tables = [np.clip(levels * factor, 0, 1) ** scene.gamma * 255 for factor in scene.cast]
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    image = image.point(np.concatenate(tables).round().astype(int).tolist())
    if scene.grey:
        image = image.convert("L").convert("RGB")
    if scene.blur > 0.3:
        image = image.filter(ImageFilter.GaussianBlur(scene.blur))
    if scene.grain > 0:
        noise = scene.grain * random.standard_normal((*pixels.shape[:2], 1), dtype=np.float32)
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    return image
