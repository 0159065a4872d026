"""Checks that Convoy's networks have the same logits as torchvision's and timm's, to 1e-5 of the largest logit.

    python -m benchmarks.zoo_parity [--only NAME ...]     needs torchvision and timm: see benchmarks/README.md

The counterpart gets weights, norms and running statistics that differ clearly from their initial values. Its tensors
are copied to Convoy's network: modules with tensors are paired in the order in which their forward calls end; shapes
must be equal and all modules paired. Then both networks classify the same random images in evaluation mode: in float64,
to exclude rounding, and in float32 for information. Prints a Markdown table; the exit code is 1 if a pair differs. To
save the result:

    python -m benchmarks.zoo_parity > benchmarks/results/$(date +%F)-zoo-parity.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from benchmarks.measure import conditions
from torch import nn

from convoy.models import create
from convoy.registry import unknown

TOLERANCE = 1e-5  # of the largest logit, in float64
IMAGES = 4
PAPER = {"stem": "paper"}
INCEPTION_V1 = {"norm": "batch", "upsample": 1, "largest_kernel": 3, "pools": "torchvision"}
NO_AUXILIARY_HEADS = {"aux_logits": False, "init_weights": True}
TOKEN_MEAN = {"img_size": 28, "patch_size": 4, "global_pool": "avg", "class_token": False}


class Pair(NamedTuple):
    name: str  # Convoy's model
    counterpart: str  # torchvision:NAME or timm:NAME
    options: Mapping[str, Any] = {}  # Convoy's model.options
    kwargs: Mapping[str, Any] = {}  # the counterpart's
    image_size: int = 64
    in_chans: int = 3  # torchvision's networks have three
    num_classes: int = 10


# fmt: off
PAIRS = (  # by name, one line per pair
    Pair("alexnet_large", "torchvision:alexnet", {"widths": "one_tower", "upsample": 1}, image_size=224),
    Pair("convnext_atto", "timm:convnext_atto", PAPER),
    Pair("convnext_femto", "timm:convnext_femto", PAPER),
    Pair("densenet121", "torchvision:densenet121", PAPER),
    Pair("densenet169", "torchvision:densenet169", PAPER),
    Pair("densenet201", "torchvision:densenet201", PAPER),
    Pair("efficientnet_b0", "torchvision:efficientnet_b0", PAPER),
    Pair("efficientnet_b0", "torchvision:efficientnet_b1", {**PAPER, "depth_mult": 1.1}),
    Pair("googlenet", "torchvision:googlenet", INCEPTION_V1, NO_AUXILIARY_HEADS),
    Pair("googlenet", "torchvision:googlenet", INCEPTION_V1, NO_AUXILIARY_HEADS, image_size=224),
    Pair("mobilenet_v1", "timm:mobilenetv1_100", {**PAPER, "upsample": 1, "activation": "relu6"}),
    Pair("mobilenet_v2", "torchvision:mobilenet_v2", PAPER),
    Pair("mobilenet_v2", "torchvision:mobilenet_v2", {**PAPER, "width_mult": 0.5}, {"width_mult": 0.5}),
    Pair("mobilenet_v3_large", "torchvision:mobilenet_v3_large", PAPER),
    Pair("mobilenet_v3_small", "torchvision:mobilenet_v3_small", PAPER),
    Pair("preact_resnet18", "timm:resnetv2_18", PAPER),
    Pair("preact_resnet34", "timm:resnetv2_34", PAPER),
    Pair("preact_resnet50", "timm:resnetv2_50", PAPER),
    Pair("resnet101", "torchvision:resnet101", PAPER),
    Pair("resnet152", "torchvision:resnet152", PAPER),
    Pair("resnet18", "torchvision:resnet18", PAPER),
    Pair("resnet34", "torchvision:resnet34", PAPER),
    Pair("resnet50", "torchvision:resnet50", PAPER),
    Pair("se_resnet50", "timm:seresnet50", PAPER),
    Pair("shufflenet_v2_x0_5", "torchvision:shufflenet_v2_x0_5", PAPER),
    Pair("shufflenet_v2_x1_0", "torchvision:shufflenet_v2_x1_0", PAPER),
    Pair("shufflenet_v2_x1_5", "torchvision:shufflenet_v2_x1_5", PAPER),
    Pair("shufflenet_v2_x2_0", "torchvision:shufflenet_v2_x2_0", PAPER),
    Pair("squeezenet1_0", "torchvision:squeezenet1_0", {**PAPER, "relu_output": True}),
    Pair("squeezenet1_1", "torchvision:squeezenet1_1", {**PAPER, "relu_output": True}),
    Pair("vgg11", "torchvision:vgg11", {"head": "paper"}, image_size=224),
    Pair("vgg11_bn", "torchvision:vgg11_bn", {"head": "paper"}, image_size=224),
    Pair("vgg13", "torchvision:vgg13", {"head": "paper"}, image_size=224),
    Pair("vgg13_bn", "torchvision:vgg13_bn", {"head": "paper"}, image_size=224),
    Pair("vgg16", "torchvision:vgg16", {"head": "paper"}, image_size=224),
    Pair("vgg16_bn", "torchvision:vgg16_bn", {"head": "paper"}, image_size=224),
    Pair("vgg19", "torchvision:vgg19", {"head": "paper"}, image_size=224),
    Pair("vgg19_bn", "torchvision:vgg19_bn", {"head": "paper"}, image_size=224),
    Pair("vit_tiny", "timm:vit_tiny_patch16_224", {"readout": "mean"}, TOKEN_MEAN, image_size=28, in_chans=1),
    Pair("vit_tiny", "timm:vit_tiny_patch16_224", {}, {"img_size": 32, "patch_size": 4}, image_size=32),
)
# fmt: on


class DifferenceError(Exception):
    """The networks of a pair cannot be compared, or their logits differ."""


def counterpart_of(pair: Pair) -> nn.Module:
    library, _, name = pair.counterpart.partition(":")
    if library == "timm":
        import timm

        return timm.create_model(
            name, pretrained=False, in_chans=pair.in_chans, num_classes=pair.num_classes, **pair.kwargs
        )
    from torchvision.models import get_model

    return get_model(name, weights=None, num_classes=pair.num_classes, **pair.kwargs)


def convoy_network(pair: Pair) -> nn.Module:
    return create(
        pair.name,
        in_chans=pair.in_chans,
        num_classes=pair.num_classes,
        image_size=pair.image_size,
        options=pair.options,
    )


@torch.no_grad()
def randomise(module: nn.Module, images: torch.Tensor) -> None:
    """Changes all values that are initially close to 0 or 1: with them, a missing norm would not change the logits."""
    for key, weight in module.named_parameters():
        if weight.ndim == 1:  # biases, the scales of norms, layer scale
            weight.copy_(torch.randn_like(weight) * 0.1 if key.endswith("bias") else torch.rand_like(weight) + 0.5)
        elif weight.abs().max() < 1e-3:  # class tokens
            weight.normal_(std=0.02)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    module.train()(images)  # sets the running statistics to those of the images; with others the signal would vanish
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean += torch.randn_like(norm.running_mean) * 0.3 * norm.running_var.sqrt()
        norm.running_var *= torch.rand_like(norm.running_var) + 0.5


def own_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}


@torch.no_grad()
def modules_with_tensors(module: nn.Module, images: torch.Tensor) -> dict[str, nn.Module]:
    """The modules with tensors of their own, by name, in the order in which their first forward calls end."""
    names = {inner: name or "(root)" for name, inner in module.named_modules() if own_tensors(inner)}
    called: dict[str, nn.Module] = {}

    def record(inner: nn.Module, inputs: object, output: object) -> None:  # must return None to keep the output
        called.setdefault(names[inner], inner)

    hooks = [inner.register_forward_hook(record) for inner in names]
    module.eval()(images)
    for hook in hooks:
        hook.remove()
    if unused := sorted(set(names.values()) - set(called)):
        raise DifferenceError(f"{type(module).__name__}: a pass does not call {', '.join(unused[:4])}")
    return called


def shape(tensor: torch.Tensor) -> list[int]:
    """The shape of a tensor; of a 1x1 convolution, that of the equal linear layer: some heads differ in this."""
    return list(tensor.shape[:2] if tensor.shape[2:].numel() == 1 else tensor.shape)


@torch.no_grad()
def copy_tensors(source: nn.Module, target: nn.Module, images: torch.Tensor) -> None:
    sources, targets = modules_with_tensors(source, images), modules_with_tensors(target, images)
    for (source_name, source_module), (name, module) in zip(sources.items(), targets.items(), strict=False):
        tensors, copies = own_tensors(source_module), own_tensors(module)
        source_shapes, shapes = ([shape(tensor) for tensor in side.values()] for side in (tensors, copies))
        if source_shapes != shapes:
            raise DifferenceError(
                f"{name} has {dict(zip(copies, shapes, strict=True))}, {source_name} of the counterpart {source_shapes}"
            )
        for tensor, copy in zip(tensors.values(), copies.values(), strict=True):
            copy.copy_(tensor.reshape(copy.shape))
    if len(sources) != len(targets):
        unpaired = list(targets)[len(sources) :] or list(sources)[len(targets) :]
        raise DifferenceError(
            f"{len(targets)} modules with tensors, counterpart {len(sources)}; unpaired: {', '.join(unpaired[:4])}"
        )


@torch.no_grad()
def difference(counterpart: nn.Module, network: nn.Module, images: torch.Tensor) -> float:
    """The largest difference of a logit, relative to the largest logit."""
    expected, logits = counterpart.eval()(images), network.eval()(images)
    if logits.shape != expected.shape:
        raise DifferenceError(f"logits of shape {list(logits.shape)}, expected {list(expected.shape)}")
    if not expected.std(dim=0).max() > 1e-3 * expected.abs().max():
        raise DifferenceError(
            "the counterpart has nearly equal logits for all images, which would not show differences"
        )
    return ((logits - expected).abs().max() / expected.abs().max()).item()


def compare(pair: Pair) -> tuple[int, float, float]:
    """Returns the number of parameters, and the differences in float64 and float32."""
    torch.manual_seed(0)
    images = torch.randn(IMAGES, pair.in_chans, pair.image_size, pair.image_size, dtype=torch.float64)
    counterpart, network = counterpart_of(pair).double(), convoy_network(pair).double()
    randomise(counterpart, images)
    copy_tensors(counterpart, network, images)
    in_float64 = difference(counterpart, network, images)
    if not in_float64 <= TOLERANCE:
        raise DifferenceError(f"logits differ by {in_float64:.1e} of the largest")
    in_float32 = difference(counterpart.float(), network.float(), images.float())
    return sum(weight.numel() for weight in network.parameters()), in_float64, in_float32


def rows(pairs: Sequence[Pair]) -> Iterator[tuple[Pair, str, bool]]:
    for pair in pairs:
        size = f"{pair.in_chans}x{pair.image_size}x{pair.image_size}"
        head = f"| {_call(pair.name, pair.options)} | {_call(pair.counterpart, pair.kwargs)} | {size} |"
        try:
            count, in_float64, in_float32 = compare(pair)
            yield pair, f"{head} {count:,} | {in_float64:.1e} | {in_float32:.1e} |", True
        except (DifferenceError, ValueError) as error:
            yield pair, f"{head} | {error} | |", False


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    return " ".join([f"`{name}`", *(f"{key}={value}" for key, value in arguments.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names of Convoy's models")
    only = parser.parse_args().only
    for name in only:
        if name not in (names := {pair.name for pair in PAIRS}):
            raise SystemExit(str(unknown("pair", name, names)))
    pairs = [pair for pair in PAIRS if not only or pair.name in only]
    print("# Same weights, same logits\n")
    print("| Convoy | counterpart | input | parameters | float64 | float32 |\n|---|---|---|---:|---:|---:|")
    unequal = []
    for pair, row, equal in rows(pairs):
        print(row, flush=True)
        unequal += [] if equal else [pair.name]
    verdict = f"not equal: {', '.join(unequal)}" if unequal else f"all within {TOLERANCE:.0e} of the largest logit"
    print(f"\n{len(pairs)} pairs, {verdict}. Differences are relative to the largest logit.\n")
    measured_on = conditions()
    versions = ", ".join(f"{name} {version}" for name, version in measured_on["versions"].items())
    print(f"{measured_on['command']}, {measured_on['date']}, {measured_on['cpu']}, {versions}")
    if unequal:
        sys.exit(1)


if __name__ == "__main__":
    main()
