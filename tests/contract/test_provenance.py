"""As-published networks match the author's: the table of tests/provenance.py, and a plain PyTorch version."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tests.plain_networks import PLAIN
from tests.provenance import FACTS, Drop, Fact, Pool
from torch import nn
from torch.nn.functional import interpolate
from torch.overrides import TorchFunctionMode

from convoy.data import prepare
from convoy.experiments import experiment as experiments
from convoy.models import MODELS, create
from convoy.models.network import without_weights
from convoy.recipe import Recipe

IMAGES, FEW_IMAGES = 32, 16  # few for networks with more than 100 million multiply-adds, which take minutes
SPREAD_FACTOR = 1.5  # allowed ratio of one seed to the mean of five; other initial weights differ more (see below)

every_network = pytest.mark.parametrize("name", list(PLAIN))


class Calls(TorchFunctionMode):
    """Records a forward pass in order: layers with weights, poolings, dropouts; and the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.multiply_adds = 0
        self.events: list[Pool | tuple[str, float] | str] = []
        self.logits = torch.empty(0)
        self.softmax = False

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        match getattr(func, "__name__", ""):
            case "conv2d":
                weight = args[1]
                self.multiply_adds += output[0].numel() * weight[0].numel()
                self.events.append(f"Conv2d {weight.shape[1]} -> {weight.shape[0]}")
            case "linear":
                weight = args[1]
                self.multiply_adds += output[0].numel() * weight.shape[1]
                self.events.append(f"Linear {weight.shape[1]} -> {weight.shape[0]}")
                self.logits = output
            case "max_pool2d":
                kernel, stride = args[1], kwargs["stride"] or args[1]
                self.events.append(Pool("max", kernel, stride, kwargs["padding"]))
            case "avg_pool2d":
                kernel, stride, padding = args[1:4]
                self.events.append(Pool("average", kernel, stride or kernel, padding))
            case "adaptive_avg_pool2d" | "mean" if args[0].ndim == 4:
                side, to = args[0].shape[-1], output.shape[-1] if output.ndim == 4 else 1
                self.events.append(Pool("average", side - (to - 1) * (side // to), side // to))
            case "dropout":
                self.events.append(("dropout", kwargs["p"]))
            case "softmax":
                self.softmax = True
        return output

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The poolings that change the map."""
        return tuple(event for event in self.events if isinstance(event, Pool) and event.kernel > 1)

    @property
    def dropouts(self) -> tuple[Drop, ...]:
        found = []
        for place, event in enumerate(self.events):
            if isinstance(event, tuple) and event[0] == "dropout" and event[1] > 0:
                layer = next(later for later in self.events[place:] if isinstance(later, str))
                found.append(Drop(pytest.approx(event[1]), layer))
        return tuple(found)


def built(name: str, seed: int = 0) -> nn.Module:
    """The network of a built-in recipe, for its data."""
    model = Recipe.load(name).model
    in_chans, num_classes, image_size = MODELS[model.name].counted_at
    torch.manual_seed(seed)
    return create(model.name, in_chans=in_chans, num_classes=num_classes, image_size=image_size, options=model.options)


@cache
def images(name: str) -> torch.Tensor:
    """Images as the recipe normalises them; for CIFAR-10, which is not packaged, coarse structure under noise."""
    data = Recipe.load(name).data
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in data.normalise)
    if data.name == "mnist":
        pixels = prepare(data.model_copy(update={"limit": 1000})).train.images[:IMAGES]
        raw = torch.from_numpy(np.array(pixels)).float() / 255
    else:
        draw = torch.Generator().manual_seed(0)
        coarse = torch.randn(IMAGES, 3, 4, 4, generator=draw)
        fine = torch.randn(IMAGES, 3, 32, 32, generator=draw)
        raw = (0.48 + 0.2 * interpolate(coarse, 32, mode="bilinear") + 0.05 * fine).clamp(0, 1)
    return (raw - mean) / std


@torch.no_grad()
def spread(module: nn.Module, name: str) -> float:
    """The standard deviation of the initial logits over images, with batch statistics and without dropout."""
    entry = MODELS[Recipe.load(name).model.name]
    few = entry.macs is not None and entry.macs > 100_000_000
    dtype = (
        torch.float64 if entry.name == "googlenet" else torch.float32
    )  # its float32 logits agree only in five digits
    module.to(dtype).train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.eval()
    with Calls() as calls:
        module(images(name)[: FEW_IMAGES if few else IMAGES].to(dtype))
    return calls.logits.std(dim=0).mean().item()


def test_facts_have_all_properties_of_all_published_networks() -> None:
    published = {model.as_published for name in experiments.names() for model in experiments.load(name).model}
    assert set(PLAIN) == published
    assert {(fact.recipe, fact.property) for fact in FACTS} == {
        (name, what)
        for name in published
        for what in ("parameters", "multiply_adds", "pools", "dropouts", "ends_in_softmax", "spread")
    }
    assert all(fact.source for fact in FACTS)


@cache
def passed(name: str) -> tuple[nn.Module, Calls]:
    """The network with its initial weights, which tests do not change, and the calls of a forward pass."""
    module = built(name).eval()
    with Calls() as calls, torch.no_grad():
        module(images(name)[:1])
    return module, calls


@pytest.mark.parametrize(
    "fact", [fact for fact in FACTS if fact.property != "spread"], ids=lambda fact: f"{fact.recipe}-{fact.property}"
)
def test_network_matches_its_source(fact: Fact) -> None:
    module, calls = passed(fact.recipe)
    found = {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "multiply_adds": calls.multiply_adds,
        "pools": calls.pools,
        "dropouts": calls.dropouts,
        "ends_in_softmax": calls.softmax,
    }
    assert found[fact.property] == fact.value, fact.source


@every_network
def test_logits_agree_with_the_plain_version_with_the_same_weights(name: str) -> None:
    ours = passed(name)[0]
    with without_weights():
        plain = PLAIN[name]()
    state = plain.state_dict()
    assert len(state) == len(ours.state_dict())
    for (key, tensor), other in zip(ours.state_dict().items(), state.values(), strict=True):
        assert tensor.shape == other.shape, key
    plain.load_state_dict(dict(zip(state, ours.state_dict().values(), strict=True)), assign=True)
    plain.eval()
    with torch.no_grad(), Calls() as first:
        ours(images(name)[:4])
    with torch.no_grad(), Calls() as second:
        plain(images(name)[:4])
    assert first.softmax == second.softmax
    scale = second.logits.abs().max()
    assert (first.logits - second.logits).abs().max() < 1e-5 * scale


@every_network
def test_initial_weights_are_the_default_of_torch(name: str) -> None:
    """Weights and biases uniform within 1 / sqrt(inputs of an output value)."""
    parts = [part for part in passed(name)[0].modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert parts
    for part in parts:
        weight, bound = part.weight.detach(), part.weight[0].numel() ** -0.5
        assert weight.abs().max() <= bound
        assert weight.numel() < 1000 or weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
        assert part.bias is None or 0 < part.bias.abs().max() <= bound


SPREADS = {fact.recipe: fact.value for fact in FACTS if fact.property == "spread"}


@every_network
def test_spread_of_initial_logits_agrees_with_the_plain_version(name: str) -> None:
    module = deepcopy(passed(name)[0])  # `spread` updates the statistics of its batch norms
    assert SPREADS[name] / SPREAD_FACTOR < spread(module, name) < SPREADS[name] * SPREAD_FACTOR


@pytest.mark.parametrize(
    ("name", "init"), [("cifar-course/vgg-a-published", "glorot"), ("classics-mnist/resnet18-shared-published", "he")]
)
def test_other_initial_weights_have_another_spread(name: str, init: str) -> None:
    model = Recipe.load(name).model.name
    in_chans, num_classes, image_size = MODELS[model].counted_at
    torch.manual_seed(0)
    module = create(model, in_chans=in_chans, num_classes=num_classes, image_size=image_size, options={"init": init})
    found = spread(module, name)
    assert not SPREADS[name] / SPREAD_FACTOR < found < SPREADS[name] * SPREAD_FACTOR


if __name__ == "__main__":
    for recipe, plain_network in PLAIN.items():
        measured = []
        for number in range(5):
            torch.manual_seed(100 + number)
            measured.append(spread(plain_network(), recipe))
        print(f"{recipe}: {sum(measured) / 5:.2g} ({', '.join(f'{value:.2g}' for value in measured)})")
