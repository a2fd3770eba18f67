"""Pictures of scenes, drawn with integer arithmetic so that every machine draws the same pixels."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from .scene import IMAGE_SIZE, RADIUS, Digit, Scene, Thing

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

BACKGROUND = (48, 48, 48)
WHITE = (255, 255, 255)
RGB = {
    "red": (225, 45, 45),
    "green": (45, 175, 60),
    "blue": (55, 85, 235),
    "yellow": (240, 220, 50),
    "purple": (165, 60, 205),
    "cyan": (60, 215, 225),
}
GLYPHS = (  # 3 x 5 dots a digit
    "111101101101111",
    "010110010010111",
    "111001111100111",
    "111001111001111",
    "101101111001001",
    "111100111001111",
    "111100111101111",
    "111001001001001",
    "111101111101111",
    "111101111001111",
)
DOT = 3
Y, X = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE]


def pixels(scene: Scene) -> Pixels:
    """The picture, height x width x RGB."""
    canvas = np.empty((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    canvas[:] = BACKGROUND
    for thing in scene.things:
        canvas[_mask(thing)] = RGB[thing.color]
    if scene.digit is not None:
        _write(canvas, scene.digit)
    return canvas


def image(scene: Scene) -> Image.Image:
    return Image.fromarray(pixels(scene))


def png(scene: Scene) -> bytes:
    """Lossless, without time stamps or text chunks: equal scenes give equal bytes."""
    buffer = io.BytesIO()
    image(scene).save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


def jpeg(scene: Scene) -> bytes:
    """For the data sets whose pictures are JPEG files: high quality, no color subsampling."""
    buffer = io.BytesIO()
    image(scene).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _mask(thing: Thing) -> Mask:
    radius = RADIUS[thing.size]
    across, down = np.abs(X - thing.x), Y - thing.y
    if thing.shape == "circle":
        return np.asarray(across**2 + down**2 <= radius**2 + radius // 2)
    if thing.shape == "square":
        return np.asarray((across <= radius) & (np.abs(down) <= radius))
    return np.asarray((down <= radius) & (2 * across <= down + radius))  # triangle, point up


def _write(canvas: Pixels, digit: Digit) -> None:
    glyph = np.array(list(GLYPHS[digit.value])).reshape(5, 3) == "1"
    dots = np.kron(glyph, np.ones((DOT, DOT), bool))
    height, width = dots.shape
    top, left = digit.y - height // 2, digit.x - width // 2
    canvas[top : top + height, left : left + width][dots] = WHITE
