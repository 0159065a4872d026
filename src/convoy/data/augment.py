"""Batched augmentation with separate random numbers for each image, applied in this order:

1. All geometric augmentations of a recipe are composed into one affine map and applied in one resampling, so that an
   image is interpolated only once and not cropped in between. Those with `is_separate` are resampled separately, as in
   torchvision. The area outside an image is black.
2. Policies and erasing, in the order of the recipe.
3. Mixing with another image of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from convoy.data.augment_affine import Crop, Flip, Rotate, Scale, Shift, resample
from convoy.data.augment_erasing import Cutout, Erase
from convoy.data.augment_kinds import Affine, Mixer, PixelTransform
from convoy.data.augment_mixing import CutMix, MixUp, mix
from convoy.data.augment_policies import RandAugment, TrivialAugment
from convoy.recipe.problems import first_problem
from convoy.registry import Registry
from convoy.text import gettext as _

_CLASSES: dict[str, type[Affine | PixelTransform | Mixer]] = {
    "crop": Crop,
    "flip": Flip,
    "rotate": Rotate,
    "shift": Shift,
    "scale": Scale,
    "rand_augment": RandAugment,
    "trivial_augment": TrivialAugment,
    "cutout": Cutout,
    "erase": Erase,
    "mixup": MixUp,
    "cutmix": CutMix,
}
AUGMENTATIONS: Registry[type[Affine | PixelTransform | Mixer]] = Registry("augmentation")
for _name, _class in _CLASSES.items():
    AUGMENTATIONS.add(_name, _class)


class Augmentation:
    def __init__(self, parts: Sequence[Affine | PixelTransform | Mixer]) -> None:
        self.affine = [part for part in parts if isinstance(part, Affine)]
        self.mixers = [part for part in parts if isinstance(part, Mixer)]
        self.pixel_transforms = [part for part in parts if isinstance(part, PixelTransform)]
        self._resamplings: list[list[Affine]] = []
        for part in self.affine:
            if self._resamplings and not (part.is_separate or self._resamplings[-1][-1].is_separate):
                self._resamplings[-1].append(part)
            else:
                self._resamplings.append([part])

    @property
    def is_identity(self) -> bool:
        return not (self.affine or self.pixel_transforms or self.mixers)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Applies all augmentations except mixing to x, float [B, C, H, H] in 0..1 on any device.

        The generator must be on the CPU. The result for an image depends only on the generator and on the image's
        position in the batch.
        """
        if not self.affine and not self.pixel_transforms:
            return x
        draws = [part.draws for part in self.affine] + [part.draws for part in self.pixel_transforms]
        columns = iter(torch.rand(len(x), sum(draws), generator=generator).split(draws, dim=1))
        for group in self._resamplings:
            # The small matrices are multiplied on the CPU; a GPU would launch a kernel for each operation.
            maps = [part.maps(next(columns), x.shape[-1]) for part in group]
            composed = reduce(torch.matmul, maps)
            is_nearest = all(part.is_exact or part.is_separate for part in group)
            x = resample(x, composed[:, :2], "nearest" if is_nearest else "bilinear")
        for transform in self.pixel_transforms:
            x = transform(x, next(columns), generator)
        return x

    def mix(self, x: Tensor, labels: Tensor, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mixes images and labels int64 [B] if the recipe has a mixer; labels are then probabilities [B, classes]."""
        return mix(self.mixers, x, labels, classes, generator) if self.mixers else (x, labels)


def build(specs: Sequence[Mapping[str, Any]]) -> Augmentation:
    """Builds an augmentation from a recipe's tables, such as {"name": "rotate", "degrees": 10}.

    Raises ValueError for an unknown name or key or a value out of range.
    """
    return Augmentation([parse(spec) for spec in specs])


def parse(spec: Mapping[str, Any]) -> Affine | PixelTransform | Mixer:
    """Creates one augmentation from its table in a recipe. Raises the same errors as `build`."""
    name, keys = str(spec["name"]), {key: value for key, value in spec.items() if key != "name"}
    try:
        return AUGMENTATIONS[name](**keys)
    except ValidationError as error:
        raise first_problem(AUGMENTATIONS[name], error, keys, _("the augmentation {name}", name=name), ()) from None
