"""Networks of timm and torchvision, named "timm:NAME" and "torchvision:NAME", where the extra `zoo` is installed.

Weights are random: nothing is downloaded. `model.options` go to the library as keyword arguments; channels, classes
and, for networks built for one size (vision transformers), the image size come from the data. torchvision's networks
take three channels: for others the first convolution's weights are cut or repeated, each weight as torchvision drew it,
so that grey images cost what one channel costs. Its auxiliary heads are left off, because a loss here has one input.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType

import torch
from torch import nn

from convoy.models.entry import GEOMETRY, Option
from convoy.registry import is_external, unknown

SIZE_WORDS = {"timm": "img_size", "torchvision": "image_size"}  # the library's word for GEOMETRY's image_size
WEIGHTS = ("weights", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path")  # all load something
SHARE_LEFT_OUT = 0.05  # of an image's side
PRESETS: dict[str, dict[str, Option]] = {
    "torchvision:googlenet": {"aux_logits": False, "init_weights": True},
    "torchvision:inception_v3": {"aux_logits": False, "init_weights": True},
}


def create(spec: str, geometry: Mapping[str, int], options: Mapping[str, Option]) -> nn.Module:
    """Builds the network and checks it on a batch of two black images.

    Raises ValueError: the library is not installed or has no such network; it refuses an option; the network does not
    run on such images, or would look at a part of them only; the output is not [2, num_classes].
    """
    library, name = _parts(spec)
    package = _package(library, spec)
    for option in options:
        if option in (*GEOMETRY, SIZE_WORDS[library]):
            raise ValueError(f"{option} in model.options of {spec}: it follows from the data")
        if option in WEIGHTS:
            raise ValueError(f"{option} in model.options of {spec}: its weights start as random ones")
    if name not in (known := _names(library, package)):
        raise unknown("model", name, known, library)
    try:
        module = _build(library, package, name, geometry, default_options(spec) | dict(options))
    except Exception as error:
        given = ", ".join(f"{key} = {value!r}" for key, value in options.items()) or "none"
        raise ValueError(f"{spec} cannot be built (model.options: {given}): {_one_line(error)}") from None
    _check_output(spec, module, geometry)
    _check_patches(spec, module, geometry["image_size"])
    module.flaws = ()  # type: ignore[assignment]
    return module


def default_options(spec: str) -> dict[str, Option]:
    """What differs from the library's own defaults; those are covered by its version, which the fingerprint holds."""
    return dict(PRESETS.get(spec, {}))


def versions(name: str) -> dict[str, str]:
    """The library that a model comes from and its version; empty for a model of another kind.

    Without what names a build: the CPU's and CUDA's hold the same networks.
    """
    if not is_external(name):
        return {}
    library, _ = _parts(name)
    return {library: str(_package(library, name).__version__).partition("+")[0]}


def failure(spec: str, error: BaseException) -> ValueError:
    """What went wrong in the network in training mode, in one line."""
    return ValueError(f"{spec} cannot be trained: {_one_line(error)}")


def _parts(spec: str) -> tuple[str, str]:
    library, _, name = spec.partition(":")
    return library, name


def _package(library: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ValueError(f"{spec} needs {library}: pip install 'convoy-ml[zoo]' ({error})") from None
    except Exception as error:  # torchvision made for another torch ends in RuntimeError
        raise ValueError(f"{library} does not go with torch {torch.__version__}: {_one_line(error)}") from None


def _names(library: str, package: ModuleType) -> list[str]:
    """The classifiers; torchvision lists its detectors and others beside them."""
    if library == "torchvision":
        return list(package.models.list_models(module=package.models))
    return list(package.list_models())


def _build(
    library: str, package: ModuleType, name: str, geometry: Mapping[str, int], options: Mapping[str, Option]
) -> nn.Module:
    classes, in_chans = geometry["num_classes"], geometry["in_chans"]
    make: Callable[..., nn.Module]
    if library == "timm":
        make = partial(package.create_model, name, pretrained=False, in_chans=in_chans, num_classes=classes, **options)
    else:
        make = partial(package.models.get_model, name, weights=None, num_classes=classes, **options)
    module = _sized(make, SIZE_WORDS[library], geometry["image_size"])
    if library == "torchvision":
        _take_channels(module, in_chans)
    return module


def _sized(make: Callable[..., nn.Module], word: str, image_size: int) -> nn.Module:
    """Neither library says which networks are built for one size: those that are not refuse the word."""
    try:
        return make(**{word: image_size})
    except TypeError as error:
        if word not in str(error):
            raise
        return make()


def _take_channels(module: nn.Module, in_chans: int) -> None:
    first = _first_convolution(module)
    assert first is not None
    chosen = torch.arange(in_chans) % first.in_channels
    first.weight = nn.Parameter(first.weight.detach()[:, chosen])  # (out, in_chans, H, W)
    first.in_channels = in_chans


def _check_output(spec: str, module: nn.Module, geometry: Mapping[str, int]) -> None:
    """One pass in evaluation mode; torch's generator is left as it was."""
    size, classes = geometry["image_size"], geometry["num_classes"]
    images = torch.zeros(2, geometry["in_chans"], size, size)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = module.eval()(images)
    except Exception as error:
        shape = "x".join(map(str, images.shape[1:]))
        raise ValueError(f"{spec} does not run on images of {shape}: {_one_line(error)}") from None
    module.train()
    if not isinstance(output, torch.Tensor) or output.shape != (2, classes):
        found = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ValueError(f"{spec} returns {found} for 2 images and {classes} classes, must be [2, {classes}]")


def _check_patches(spec: str, module: nn.Module, image_size: int) -> None:
    """A network that cuts images into patches takes what whole patches cover, and says nothing of the rest."""
    first = _first_convolution(module)
    if first is None or first.kernel_size != first.stride or first.padding != (0, 0):
        return
    patch = first.stride[0]
    left_out = image_size % patch
    pads = any(getattr(part, "dynamic_img_pad", False) for part in module.modules())
    if not pads and left_out > SHARE_LEFT_OUT * image_size:
        raise ValueError(
            f"{spec} cuts images into patches of {patch} pixels and would leave out {left_out} of {image_size} rows and"
            f" columns: set data.size to a multiple of {patch}, or model.options.patch_size where it takes that"
        )


def _first_convolution(module: nn.Module) -> nn.Conv2d | None:
    return next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
