"""Pretrained weights from timm and torchvision, with `model.options.pretrained = true`.

The library downloads and caches the file. If the classes differ, the head keeps its random weights. For grey images,
the weights of the first convolution are summed over the colours, which is equivalent to three copies of the image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from convoy.models.entry import Geometry, Option, one_line
from convoy.models.external import PRETRAINED_PRESETS, build_options, build_timm, first_convolution, package_of
from convoy.text import gettext as _

SET_BY_WEIGHTS = ("transform_input", "init_weights", "aux_logits")  # by torchvision itself
Levels = tuple[float, ...]  # by colour


class WeightsInfo(NamedTuple):
    """The weights of a network, and the images that they were trained on."""

    source: str  # a URL, or a repository of the Hugging Face hub
    mean: Levels  # mean of pixels in 0..1
    std: Levels
    image_size: int  # pixels; images are square
    centred: bool = False  # the weights expect -1 to 1; the network converts colour images to this range

    def statistics(self, channels: int) -> tuple[Levels, Levels]:
        """Mean and standard deviation of each channel; for grey images, the means over the colours."""
        if channels == len(self.mean):
            return self.mean, self.std
        if self.centred:
            return (0.5,) * channels, (0.5,) * channels
        return (sum(self.mean) / len(self.mean),) * channels, (sum(self.std) / len(self.std),) * channels


def weights_info(spec: str) -> WeightsInfo:
    """Describes the weights without loading them. Raises ValueError if the library has none for this network."""
    library, _colon, name = spec.partition(":")
    package = package_of(library, spec)
    try:
        if library == "timm":
            cfg = package.models.get_pretrained_cfg(name)
            source = cfg.hf_hub_id or cfg.url or cfg.file
            description = WeightsInfo(str(source or ""), tuple(cfg.mean), tuple(cfg.std), cfg.input_size[-1])
        else:
            weights = package.models.get_model_weights(name).DEFAULT
            preset = weights.transforms()
            description = WeightsInfo(weights.url, tuple(preset.mean), tuple(preset.std), preset.crop_size[0])
            description = description._replace(centred="transform_input" in PRETRAINED_PRESETS.get(spec, {}))
    except Exception as error:
        raise ValueError(
            _(
                "{spec}: {library} has no pretrained weights for this network ({reason})",
                spec=spec,
                library=library,
                reason=one_line(error),
            )
        ) from None
    if not description.source:
        raise ValueError(
            _(
                "{spec}: {library} has no pretrained weights for this network; start from random ones",
                spec=spec,
                library=library,
            )
        )
    return description


class LoadedWeights(NamedTuple):
    sha256: str  # hash of name, shape and bytes of the loaded tensors, sorted by name
    random: list[str]  # layers that keep their random weights


def load(module: nn.Module, spec: str, geometry: Geometry, options: Mapping[str, Option]) -> LoadedWeights:
    """Replaces the weights of a network that was built with these arguments and torch's current random state.

    Raises ValueError if the weights cannot be loaded or do not fit images of this size.
    """
    library, _colon, name = spec.partition(":")
    package, arguments = package_of(library, spec), build_options(spec, options)
    try:
        if library == "timm":
            weights = build_timm(package, name, geometry, arguments, pretrained=True).state_dict()
        else:
            arguments = {key: value for key, value in arguments.items() if key not in SET_BY_WEIGHTS}
            default = package.models.get_model_weights(name).DEFAULT
            weights = package.models.get_model(name, weights=default, **arguments).state_dict()
    except Exception as error:
        raise ValueError(
            _(
                "{spec}: cannot load the pretrained weights {source} ({reason}); the library downloads "
                "them once: check the connection and repeat the command, or give a file with --init FILE "
                "instead of --pretrained",
                spec=spec,
                source=weights_info(spec).source,
                reason=one_line(error),
            )
        ) from None
    initial = module.state_dict()
    fitted = {key: _fit(key, tensor, weights[key], module, spec, geometry) for key, tensor in initial.items()}
    layers = {
        key.rpartition(".")[0]
        for key, tensor in module.named_parameters()
        if tensor.ndim > 1 and tensor.equal(fitted[key])
    }
    loaded = {key: tensor for key, tensor in fitted.items() if key.rpartition(".")[0] not in layers}
    if not any(tensor.ndim > 1 for tensor in loaded.values()):
        raise ValueError(_("{spec}: no tensor of the pretrained weights fits this network", spec=spec))
    module.load_state_dict(fitted)
    return LoadedWeights(_digest(loaded), sorted(layers))


def _fit(
    key: str, own: torch.Tensor, weights: torch.Tensor, module: nn.Module, spec: str, geometry: Geometry
) -> torch.Tensor:
    """Returns the library's tensor in the network's shape, or the network's own for a head with other classes."""
    if weights.shape == own.shape:
        return weights
    if weights.shape[1:] == own.shape[1:] and own.shape[0] == geometry.num_classes:
        return own
    first = first_convolution(module)
    if geometry.in_chans == 1 and first is not None and own.data_ptr() == first.weight.data_ptr():
        return weights.sum(1, keepdim=True)
    expects = weights_info(spec).image_size
    raise ValueError(
        _(
            "{spec}: the pretrained weights are for images of {expects} pixels, not {image_size} "
            "({key} has shape {shape}, expected {expected_shape}); set data.size = {expects}",
            spec=spec,
            expects=expects,
            image_size=geometry.image_size,
            key=key,
            shape=list(weights.shape),
            expected_shape=list(own.shape),
        )
    )


def _digest(weights: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].contiguous().cpu()
        digest.update(f"{name} {list(tensor.shape)} ".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
