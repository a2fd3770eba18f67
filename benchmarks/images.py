"""Pictures as they come: base64 in several spellings, sixteen bits, floats, turned by a tag, damaged, far too big."""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import warnings

from PIL import Image

MAX_PIXELS = 89_478_485
"""A quarter of a gigabyte as RGB (Pillow's own default). Whoever else is in the process may have lifted Pillow's limit
(VLMEvalKit does), so it is checked here."""
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # what it warns of is refused here
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")
"""What is opened. Not EPS and its like: Pillow runs a program for them."""
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
METADATA = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
"""Where Pillow keeps what says how to turn a picture; dropped once that is done, or it would be turned twice."""
DATA_URL = re.compile(r"data:image/[\w.+-]+(?:;[\w.+=-]+)*;base64,", re.IGNORECASE)
URL_SAFE = str.maketrans("-_", "+/")
ENDS = ((b"\xff\xd8", b"\xff\xd9"), (b"\x89PNG", b"IEND"), (b"GIF8", b"\x3b"))
"""How a format begins, and what stands at the end of a whole file."""
TAIL = 4096
BROKEN = (SyntaxError, struct.error, TypeError, LookupError, ArithmeticError, EOFError)
"""What Pillow raises for a damaged picture besides OSError and ValueError."""


def decode(content: bytes) -> Image.Image:
    """The upright picture, eight bits a channel, otherwise in its own mode.

    Raises:
        OSError: it is no picture, or damaged.
        ValueError: it is too large, or its numbers are no brightness.
    """
    try:
        return _decoded(content)
    except Image.DecompressionBombError as error:
        raise ValueError(f"the picture is too large ({error})") from error
    except BROKEN as error:
        raise OSError(f"the picture is damaged ({error})") from error


def _decoded(content: bytes) -> Image.Image:
    Image.init()
    image = Image.open(io.BytesIO(content), formats=[name for name in FORMATS if name in Image.OPEN])
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"the picture has {width} x {height} pixels, more than {MAX_PIXELS:,}; scale it down")
    turn = TURNS.get(orientation(image))
    image.load()
    upright = eight_bits(image)
    upright = upright.copy() if turn is None else upright.transpose(turn)
    for name in METADATA:
        upright.info.pop(name, None)
    return upright


def orientation(image: Image.Image) -> int:
    """The tag alone: the rest of the metadata may be damaged without harm to the picture."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (*BROKEN, ValueError, OSError):
        return 1


def has_eight_bits(image: Image.Image) -> bool:
    return not (image.mode.startswith("I") or image.mode == "F")


def eight_bits(image: Image.Image) -> Image.Image:
    """Sixteen bits and floats scaled to eight; Pillow's own conversion clips them to white.

    Whole numbers up to 255 are taken as they are outside PNG, up to 65,535 as sixteen bits; floats up to 1 as shares of
    white, up to 255 as they are.

    Raises:
        ValueError: other ranges.
    """
    if has_eight_bits(image):
        return image
    import numpy as np

    values = np.asarray(image, dtype=np.float64)
    lowest, highest = float(values.min()), float(values.max())
    if not (lowest >= 0 and highest <= 65_535) or (image.mode == "F" and highest > 255):
        raise ValueError(
            f"the picture's values go from {lowest:g} to {highest:g} (mode {image.mode}), expected 0 to 255, sixteen "
            "bits, or floats from 0 to 1; save it with eight bits"
        )
    if image.mode == "F":
        scale = 255.0 if highest <= 1 else 1.0
    else:
        sixteen = image.mode.startswith("I;16") or image.format == "PNG" or highest > 255
        scale = 1 / 257 if sixteen else 1.0
    return Image.fromarray(np.rint(values * scale).astype(np.uint8))


def clean_base64(cell: str) -> str:
    """Plain base64 of a whole picture, from any spelling: a data URL, the URL-safe letters, line breaks, no padding.

    Raises:
        ValueError: it is no base64, was cut off, or what it holds is no whole picture.
    """
    text = DATA_URL.sub("", cell, count=1) if cell[:5].lower() == "data:" else cell
    if any(mark in text for mark in (" ", "\n", "\r", "\t")):
        text = "".join(text.split())
    if "-" in text or "_" in text:
        text = text.translate(URL_SAFE)
    text += "=" * (-len(text) % 4) if len(text) % 4 != 1 else ""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        strange = re.search(r"[^A-Za-z0-9+/=]", text)
        found = f"the character {strange[0]!r} stands in it" if strange else "it is cut off"
        raise ValueError(f"no base64 of a picture: {found} ({len(text):,} characters)") from error
    if not _seems_whole(content):
        _check_whole(content)
    return text


def _seems_whole(content: bytes) -> bool:
    return any(content.startswith(start) and end in content[-TAIL:] for start, end in ENDS)


def _check_whole(content: bytes) -> None:
    """Decodes the picture.

    Raises:
        ValueError: it does not decode.
    """
    try:
        decode(content)
    except OSError as error:
        reason = "no picture" if "cannot identify" in str(error) else f"cut off or damaged ({error})"
        raise ValueError(f"base64 of {len(content):,} bytes that are {reason}") from error
