"""From a picture to SigLIP's pixels, exactly as AKI's weights learned to see it.

The whole picture is squashed to a square (aspect ratio not kept, nothing cropped), bicubic with anti-aliasing, *in its
own mode*, and only then converted to RGB. So palette pictures are resized by nearest neighbour and transparency is
dropped, not composited: this is what the published weights were trained and measured with. `convert_rgb_first=True`
converts before resizing instead, which looks better and is not what they saw.

EXIF rotation is the caller's business: a picture is taken as stored. (aki_eval turns pictures upright before they come
here.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature


class AkiImageProcessor(BaseImageProcessor):  # type: ignore[misc]  # to mypy the library's classes are Any
    """Pictures -> `pixel_values` (M, 3, size, size) float32 in [-1, 1].

    size: pixels of a side. image_mean, image_std: subtracted and divided after scaling to [0, 1].
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012 (the library's form)

    def __init__(
        self,
        size: int = 384,
        image_mean: float = 0.5,
        image_std: float = 0.5,
        convert_rgb_first: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.image_mean = image_mean
        self.image_std = image_std
        self.convert_rgb_first = convert_rgb_first

    def preprocess(self, images: Any, return_tensors: str | None = "pt", **kwargs: Any) -> BatchFeature:
        """One picture or a (nested) list: PIL pictures, uint8 arrays or tensors (H, W, 3 or 3, H, W), paths.

        Raises:
            ValueError: a picture does not open; its place is named.
        """
        pictures = flatten(images)
        pixels = [self._pixels(picture, place, len(pictures)) for place, picture in enumerate(pictures, start=1)]
        if return_tensors == "np":
            return BatchFeature({"pixel_values": torch.stack(pixels).numpy()})
        return BatchFeature({"pixel_values": torch.stack(pixels)})

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Paths are opened here, in their own mode (the library would turn them to RGB, and upright, first)."""
        if isinstance(image_url_or_urls, (list, tuple)):
            return [self.fetch_images(item) for item in image_url_or_urls]
        if isinstance(image_url_or_urls, str) and image_url_or_urls.startswith(("http://", "https://", "data:")):
            return super().fetch_images(image_url_or_urls)
        return to_pil(image_url_or_urls)

    def _pixels(self, picture: Any, place: int, count: int) -> Tensor:
        """Any picture -> (3, size, size)."""
        try:
            small = self._resize(to_pil(picture))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what PIL raises for broken files
            raise ValueError(
                f"image {place} of {count} does not open: {error}; the file is damaged or no picture"
            ) from error
        values = torch.from_numpy(np.array(small)).permute(2, 0, 1).float().div(255)
        return values.sub(self.image_mean).div(self.image_std).contiguous()

    def _resize(self, picture: Image.Image) -> Image.Image:
        if self.convert_rgb_first:
            picture = picture.convert("RGB")
        return picture.resize((self.size, self.size), Image.Resampling.BICUBIC).convert("RGB")


def flatten(images: Any) -> list[Any]:
    """Any nesting of lists -> one list, in order."""
    if isinstance(images, (list, tuple)):
        return [picture for item in images for picture in flatten(item)]
    return [images]


def open_picture(path: str | Path) -> Image.Image:
    """The picture in a file.

    Raises:
        ValueError: the file is missing or no picture; it names the path.
    """
    try:
        return Image.open(path)
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} does not open as a picture: {error}") from error


def to_pil(picture: Any) -> Image.Image:
    """PIL pictures as they are; paths opened; arrays and tensors of uint8 wrapped.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, (str, Path)):
        return open_picture(picture)
    array = picture.cpu().numpy() if isinstance(picture, Tensor) else picture
    if (
        isinstance(array, np.ndarray)
        and array.ndim == 3
        and array.shape[0] in (1, 3, 4)
        and array.shape[2] not in (1, 3, 4)
    ):
        array = array.transpose(1, 2, 0)
    if not _is_picture(array):
        found = f"{type(picture).__name__} of {getattr(array, 'dtype', 'no')} {getattr(array, 'shape', '')}"
        raise ValueError(f"a picture is {found}, expected a PIL picture, a path, or uint8 values (H, W, 3)")
    return Image.fromarray(array.squeeze(-1) if array.ndim == 3 and array.shape[2] == 1 else array)


def _is_picture(array: Any) -> bool:
    """Whether it is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, and not empty."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.size == 0:
        return False
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
