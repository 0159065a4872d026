"""Networks from timm and torchvision ("timm:NAME", "torchvision:NAME"), with the extra `zoo`.

Weights are random. Nothing is downloaded here, even with the option `pretrained` (see convoy.models.pretrained).
`model.options` are passed to the library as keyword arguments; channels, classes and, for networks built for one size
(vision transformers), the image size come from the data. torchvision's networks have three input channels; for grey
images the first convolution keeps the weights of one channel. Auxiliary heads are removed, because the losses expect a
single output.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType

import torch
from torch import nn

from convoy.models.entry import Geometry, Option, one_line
from convoy.models.network import error_of_output
from convoy.registry import is_external, unknown
from convoy.text import gettext as _

SIZE_WORDS = {"timm": "img_size", "torchvision": "image_size"}  # the library's argument for Geometry.image_size
# Options that would load weights other than those of `pretrained`.
WEIGHT_OPTIONS = ("weights", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path")
SHARE_LEFT_OUT = 0.05  # maximum fraction of an image's side that patches may not cover
PRESETS: dict[str, dict[str, Option]] = {
    "torchvision:googlenet": {"aux_logits": False, "init_weights": True},
    "torchvision:inception_v3": {"aux_logits": False, "init_weights": True},
}
# transform_input: the networks convert images with ImageNet normalisation to the range of their weights, -1 to 1.
PRETRAINED_PRESETS: dict[str, dict[str, Option]] = {
    "torchvision:googlenet": {"transform_input": True},
    "torchvision:inception_v3": {"transform_input": True},
}


def create(spec: str, geometry: Geometry, options: Mapping[str, Option]) -> nn.Module:
    """Builds the network and checks it on a batch of two black images.

    Raises ValueError if the library or the network is missing, if it rejects an option, if the network does not run on
    these images or would ignore a part of them, or if the output is not [2, num_classes].
    """
    library, _colon, name = spec.partition(":")
    package = package_of(library, spec)
    for option in options:
        if option in (*Geometry._fields, SIZE_WORDS[library]):
            raise ValueError(
                _(
                    "{option} in model.options of {spec}: cannot be set, because it comes from the data",
                    option=option,
                    spec=spec,
                )
            )
        if option in WEIGHT_OPTIONS:
            raise ValueError(
                _(
                    "{option} in model.options of {spec}: cannot be set; for the library's own weights use "
                    "pretrained = true, for those in a file --init FILE",
                    option=option,
                    spec=spec,
                )
            )
    if options.get("transform_input") and geometry.in_chans == 1:
        raise ValueError(
            _("transform_input = true in model.options of {spec}: needs colour images, and these are grey", spec=spec)
        )
    if not isinstance(options.get("pretrained", False), bool):
        raise ValueError(
            _(
                "pretrained = {pretrained!r} in model.options of {spec}: expected true or false",
                pretrained=options["pretrained"],
                spec=spec,
            )
        )
    # torchvision also has detectors and other networks; the classifiers are in its package `models`.
    names = package.list_models() if library == "timm" else package.models.list_models(module=package.models)
    if (name.partition(".")[0] if library == "timm" else name) not in names:  # timm:NAME.WEIGHTS
        raise unknown(_("model"), name, names, library)
    try:
        module = _build(package, spec, geometry, build_options(spec, options))
    except Exception as error:
        settings = ", ".join(f"{key} = {value!r}" for key, value in options.items()) or _("none")
        raise ValueError(
            _(
                "{spec} cannot be built (model.options: {settings}): {reason}",
                spec=spec,
                settings=settings,
                reason=one_line(error),
            )
        ) from None
    _check_output(spec, module, geometry)
    _check_patches(spec, module, geometry.image_size)
    module.flaws = ()  # type: ignore[assignment]
    return module


def default_options(spec: str) -> dict[str, Option]:
    """Convoy's overrides. The library's own defaults are covered by its version, which is part of the fingerprint."""
    return {"pretrained": False, **PRESETS.get(spec, {})}


def build_options(spec: str, options: Mapping[str, Option]) -> dict[str, Option]:
    """All keyword arguments of the library's constructor, without `pretrained`."""
    presets = PRETRAINED_PRESETS.get(spec, {}) if options.get("pretrained") else {}
    merged = default_options(spec) | presets | dict(options)
    del merged["pretrained"]
    return merged


def versions(name: str) -> dict[str, str]:
    """The library of a model and its version, without the build suffix; empty for other models."""
    if not is_external(name):
        return {}
    library = name.partition(":")[0]
    return {library: str(package_of(library, name).__version__).partition("+")[0]}


def failure(spec: str, error: BaseException) -> ValueError:
    """Converts an error of the network in training mode to a one-line ValueError."""
    return ValueError(_("{model} cannot be trained: {problem}", model=spec, problem=one_line(error)))


def package_of(library: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ValueError(
            _("{spec} needs {library}: pip install 'convoy-ml[zoo]' ({error})", spec=spec, library=library, error=error)
        ) from None
    except Exception as error:  # torchvision for another torch raises RuntimeError
        raise ValueError(
            _(
                "{library} is not compatible with torch {version}: {reason}",
                library=library,
                version=torch.__version__,
                reason=one_line(error),
            )
        ) from None


def _build(package: ModuleType, spec: str, geometry: Geometry, options: Mapping[str, Option]) -> nn.Module:
    library, _colon, name = spec.partition(":")
    if library == "timm":
        return build_timm(package, name, geometry, options)
    if geometry.in_chans == 1 and "transform_input" in options:  # needs three channels; see `pretrained.weights_info`
        options = {**options, "transform_input": False}
    make = partial(package.models.get_model, name, weights=None, num_classes=geometry.num_classes, **options)
    module = _sized(make, SIZE_WORDS[library], geometry.image_size)
    first = first_convolution(module)
    assert first is not None
    channels = torch.arange(geometry.in_chans) % first.in_channels
    first.weight = nn.Parameter(first.weight.detach()[:, channels])  # (out, in_chans, H, W)
    first.in_channels = geometry.in_chans
    return module


def build_timm(
    package: ModuleType, name: str, geometry: Geometry, options: Mapping[str, Option], *, pretrained: bool = False
) -> nn.Module:
    in_chans, classes, image_size = geometry
    make = partial(package.create_model, name, pretrained=pretrained, in_chans=in_chans, num_classes=classes, **options)
    return _sized(make, SIZE_WORDS["timm"], image_size)


def _sized(make: Callable[..., nn.Module], word: str, image_size: int) -> nn.Module:
    """Passes the image size if the network accepts it; neither library documents which networks do."""
    try:
        return make(**{word: image_size})
    except TypeError as error:
        if word not in str(error):
            raise
        return make()


def _check_output(spec: str, module: nn.Module, geometry: Geometry) -> None:
    in_chans, _classes, size = geometry
    try:
        problem = error_of_output(module, geometry)
    except Exception as error:
        raise ValueError(
            _(
                "{spec} does not run on images of {in_chans}x{size}x{size}: {reason}",
                spec=spec,
                in_chans=in_chans,
                size=size,
                reason=one_line(error),
            )
        ) from None
    if problem:
        raise ValueError(f"{spec}: {problem}")


def _check_patches(spec: str, module: nn.Module, image_size: int) -> None:
    """Raises ValueError if many pixels are outside complete patches; the network would silently ignore them."""
    first = first_convolution(module)
    if first is None or first.kernel_size != first.stride or first.padding != (0, 0):
        return
    patch = first.stride[0]
    left_out = image_size % patch
    pads = any(getattr(part, "dynamic_img_pad", False) for part in module.modules())
    if not pads and left_out > SHARE_LEFT_OUT * image_size:
        raise ValueError(
            _(
                "{spec} uses patches of {patch} pixels and would ignore {left_out} of {image_size} rows "
                "and columns; set data.size to a multiple of {patch}, or model.options.patch_size if the "
                "network has it",
                spec=spec,
                patch=patch,
                left_out=left_out,
                image_size=image_size,
            )
        )


def first_convolution(module: nn.Module) -> nn.Conv2d | None:
    return next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
