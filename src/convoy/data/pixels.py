"""Converts images to the pixels that a network was trained on: image files, Pillow images and uint8 arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image

from convoy.data.decode_images import fitted, open_upright, read_content, to_rgb, with_channels
from convoy.data.imageset import DataError
from convoy.text import gettext as _

Source: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"
_CHANNELS = (1, 3, 4)  # grey, RGB, RGB with transparency


def as_pixels(images: Source | Sequence[Source], size: int, in_chans: int) -> np.ndarray:
    """Returns uint8 [N, in_chans, size, size], converted in the same way as image files for training.

    An array is [H, W], [H, W, C], [N, H, W] or [N, H, W, C]; [N, C, H, W] is recognised if its last axis cannot be
    channels. Raises DataError.
    """
    return np.concatenate([_pixels(source, size, in_chans) for source in as_list(images)])


def as_list(images: Source | Sequence[Source]) -> Sequence[Source]:
    return images if isinstance(images, list | tuple) else [images]  # type: ignore[list-item]


def rgb_images(source: Source, size: int) -> list[Image.Image]:
    """Returns the images in RGB, upright, on a white background. Large JPEGs are reduced to at least twice `size`."""
    with warnings.catch_warnings(action="ignore"):  # Pillow warns about unusual but readable files
        if isinstance(source, str | os.PathLike):
            return [open_upright(str(source), read_content(str(source)), size)[0]]
        if isinstance(source, np.ndarray):
            return [
                to_rgb(Image.fromarray(frame.squeeze(2) if frame.shape[2] == 1 else frame))
                for frame in frames_of(source)
            ]
        if hasattr(source, "getexif"):
            return [to_rgb(source.copy())]
    raise DataError(_("expected paths, Pillow images or uint8 arrays, got {name}", name=type(source).__name__))


def _pixels(source: Source, size: int, in_chans: int) -> np.ndarray:
    if isinstance(source, np.ndarray):
        frames = frames_of(source)
        if frames.shape[1:] == (size, size, in_chans):
            return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
    rgb = np.stack([fitted(image, size) for image in rgb_images(source, size)])  # (N, size, size, 3)
    return with_channels(np.ascontiguousarray(rgb.transpose(0, 3, 1, 2)), in_chans)


def frames_of(array: np.ndarray) -> np.ndarray:
    """Returns [N, H, W, C]."""
    if array.dtype != np.uint8:
        raise DataError(_("expected an array of uint8, 0 to 255, got {dtype}", dtype=array.dtype))
    frames = array
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS):
        frames = array[None]
    if frames.ndim == 3:
        frames = frames[..., None]
    if frames.ndim == 4 and frames.shape[3] not in _CHANNELS:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.ndim != 4 or frames.shape[3] not in _CHANNELS or frames.size == 0:
        raise DataError(
            _("expected an array [H, W], [H, W, C], [N, H, W] or [N, H, W, C], got {shape}", shape=list(array.shape))
        )
    return frames
