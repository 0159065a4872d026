"""Augmentation of a whole batch at once, with a draw for each image.

First all geometric augmentations of a recipe, as one affine map and one resampling: no image is blurred twice, and
nothing is cut off between two steps. Only those that ask for it (`is_separate`) are resampled by themselves, as
torchvision does. What lies outside an image is black. Then, in the order of the recipe, policies
and erasures, which see the image by itself; last, mixing with another image of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from convoy.data.augment_erasing import Cutout, Erase
from convoy.data.augment_geometric import Crop, Flip, Rotate, Scale, Shift, resample
from convoy.data.augment_kinds import Geometric, Mixer, PixelTransform
from convoy.data.augment_mixing import CutMix, MixUp, mix
from convoy.data.augment_policies import RandAugment, TrivialAugment
from convoy.registry import Registry, unknown

AUGMENTATIONS: Registry[type] = Registry("augmentation")
for _name, _augmentation in {
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
}.items():
    AUGMENTATIONS.add(_name, _augmentation)


class Augmentation:
    def __init__(self, parts: Sequence[Geometric | PixelTransform | Mixer]) -> None:
        self.geometric = [part for part in parts if isinstance(part, Geometric)]
        self.mixers = [part for part in parts if isinstance(part, Mixer)]
        self.painters = [part for part in parts if not isinstance(part, Geometric | Mixer)]
        self._together = _resampled_together(self.geometric)

    @property
    def is_identity(self) -> bool:
        return not (self.geometric or self.painters or self.mixers)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x float [B, C, H, H] in 0..1 on any device, the generator on the CPU; returns the same shape and type.

        All but the mixing. What happens to an image depends on the generator and on the image's place in the batch, on
        nothing else in it.
        """
        if not self.geometric and not self.painters:
            return x
        draws = [part.draws for part in self.geometric] + [part.draws for part in self.painters]
        columns = iter(torch.rand(len(x), sum(draws), generator=generator).split(draws, dim=1))
        for group in self._together:
            # Matrices of a few numbers are multiplied on the CPU; a GPU would start a kernel for each line of it.
            maps = [part.maps(next(columns), x.shape[-1]) for part in group]
            composed = maps[0]
            for later in maps[1:]:
                composed = composed @ later
            is_nearest = all(part.interpolation == "nearest" for part in group)
            x = resample(x, composed[:, :2], "nearest" if is_nearest else "bilinear")
        for painter in self.painters:
            x = painter(x, next(columns), generator)
        return x

    def mix(self, x: Tensor, labels: Tensor, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images and labels int64 [B]; where the recipe mixes, the labels come back as probabilities [B, classes]."""
        return mix(self.mixers, x, labels, classes, generator) if self.mixers else (x, labels)


def _resampled_together(parts: Sequence[Geometric]) -> list[list[Geometric]]:
    groups: list[list[Geometric]] = []
    for part in parts:
        if groups and not part.is_separate and not groups[-1][-1].is_separate:
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def build(specs: Sequence[Mapping[str, Any]]) -> Augmentation:
    """From a recipe's tables, such as {"name": "rotate", "degrees": 10}; geometric ones apply in the order given.

    Raises ValueError: unknown name or key, a value out of range.
    """
    parts = []
    for spec in specs:
        name = spec.get("name")
        if not isinstance(name, str):
            raise ValueError(f"data.augment: {dict(spec)!r} has no name; known: {', '.join(AUGMENTATIONS)}")
        augmentation = AUGMENTATIONS[name]
        given = {key: value for key, value in spec.items() if key != "name"}
        keys = [field.name for field in fields(augmentation)]
        for key in given:
            if key not in keys:
                raise unknown("key", key, keys, f"the augmentation {name}")
        parts.append(augmentation(**given))
    return Augmentation(parts)
