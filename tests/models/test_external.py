"""Networks of timm and torchvision, tested with stand-ins for both libraries, which need not be installed."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import convoy
from convoy.evaluation.load import network_of
from convoy.models import create, default_options
from convoy.recipe import Recipe
from convoy.training.run.plan import plan_one


class Little(nn.Module):
    """Has three input channels by default, as in torchvision. A patch size of 1 is an ordinary convolution."""

    def __init__(self, num_classes: int, in_chans: int = 3, patch_size: int = 1, drop: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, 8, patch_size, patch_size)
        self.drop = nn.Dropout(drop)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.conv(x).mean(dim=(2, 3))))


class Sized(Little):
    def __init__(self, *, img_size: int, **options: Any) -> None:
        super().__init__(**options)
        self.img_size = img_size


class Picky(Little):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] < 32:
            raise RuntimeError("maps are used up\nand more")
        return super().forward(x)


class TwoHeads(Little):
    """Returns a tuple in training mode, like networks with auxiliary heads."""

    def forward(self, x: torch.Tensor) -> Any:
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class Features(Little):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


NETWORKS = {"little": Little, "sized": Sized, "picky": Picky, "two_heads": TwoHeads, "features": Features}


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A fake timm that stores the arguments of the last call in `asked`."""

    def create_model(name: str, pretrained: bool, **options: Any) -> nn.Module:
        library.asked = {"pretrained": pretrained, **options}  # type: ignore[attr-defined]
        return NETWORKS[name](**options)

    library = ModuleType("timm")
    library.__dict__.update(__version__="1.0.31", list_models=lambda: list(NETWORKS), create_model=create_model)
    monkeypatch.setitem(sys.modules, "timm", library)
    return library


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    def get_model(
        name: str, weights: None, aux_logits: bool = True, init_weights: bool = False, **rest: Any
    ) -> nn.Module:
        if "image_size" in rest:
            raise TypeError("GoogLeNet.__init__() got an unexpected keyword argument 'image_size'")
        return TwoHeads(**rest) if aux_logits else Little(**rest)

    library = ModuleType("torchvision")
    models = SimpleNamespace(list_models=lambda module: ["googlenet", "resnet18"], get_model=get_model)
    library.__dict__.update(__version__="0.29.1+cpu", models=models)
    monkeypatch.setitem(sys.modules, "torchvision", library)
    return library


def made(name: str, in_chans: int = 1, image_size: int = 28, **options: Any) -> nn.Module:
    return create(name, in_chans=in_chans, num_classes=5, image_size=image_size, options=options)


def refusal(name: str, **arguments: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        made(name, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---- calls of the libraries ----


def test_timm_gets_channels_classes_size_and_options_and_downloads_nothing(timm: ModuleType) -> None:
    module = made("timm:sized", in_chans=3, drop=0.5)
    assert timm.asked == {"pretrained": False, "in_chans": 3, "num_classes": 5, "img_size": 28, "drop": 0.5}
    assert module.training
    assert module.flaws == ()


def test_network_for_any_size_gets_no_image_size(timm: ModuleType) -> None:
    made("timm:little")
    assert "img_size" not in timm.asked


def test_torchvisions_first_convolution_keeps_the_weights_of_one_channel_for_grey_images(
    torchvision: ModuleType,
) -> None:
    torch.manual_seed(0)
    grey = made("torchvision:resnet18", in_chans=1, aux_logits=False)
    torch.manual_seed(0)
    colour = made("torchvision:resnet18", in_chans=3, aux_logits=False)
    assert grey.conv.in_channels == 1
    assert torch.equal(grey.conv.weight, colour.conv.weight[:, :1])


def test_auxiliary_heads_of_googlenet_are_off_by_default(torchvision: ModuleType) -> None:
    assert default_options("torchvision:googlenet")["aux_logits"] is False
    assert type(made("torchvision:googlenet")) is Little
    assert type(made("torchvision:googlenet", aux_logits=True)) is TwoHeads


def test_the_check_does_not_change_the_generator(timm: ModuleType) -> None:
    torch.manual_seed(1)
    made("timm:little")
    after_create = torch.rand(1)
    torch.manual_seed(1)
    Little(5, 1)
    assert torch.equal(after_create, torch.rand(1))


# ---- one-line errors ----


def test_error_for_a_missing_library_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"^timm:resnet18 .*pip install 'convoy-ml\[zoo\]'"):
        made("timm:resnet18")


def test_error_for_an_incompatible_library_names_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise RuntimeError(f"operator {name}::nms does not exist\n...")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ValueError, match=f"^torchvision .*{re.escape(torch.__version__)}: RuntimeError: operator"):
        made("torchvision:resnet18")


def test_error_for_an_unknown_name_lists_close_names(timm: ModuleType) -> None:
    with pytest.raises(ValueError, match="^unknown model 'litle' in timm; did you mean 'little'"):
        made("timm:litle")


def test_error_for_an_unknown_name_does_not_list_a_thousand_names(timm: ModuleType) -> None:
    timm.list_models = lambda: [f"net{number:04}" for number in range(1000)]
    with pytest.raises(ValueError, match=r"net0098, net0099, \.\.\. \(1,000 in total\)$"):
        made("timm:qq")


def test_error_for_a_rejected_option_has_the_librarys_message(timm: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"^timm:little .*model\.options: colour = 2\): TypeError: .*'colour'"):
        made("timm:little", colour=2)


@pytest.mark.parametrize("option", ["in_chans", "num_classes", "image_size", "img_size"])
def test_an_option_that_is_determined_by_the_data_is_an_error(timm: ModuleType, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} in model.options of timm:little: .*the data"):
        create("timm:little", in_chans=1, num_classes=5, image_size=28, options={option: 3})


@pytest.mark.parametrize("option", ["weights", "checkpoint_path"])
def test_an_option_that_loads_weights_is_an_error(timm: ModuleType, option: str) -> None:
    assert "pretrained = true" in refusal("timm:little", **{option: "x"})


def test_a_network_that_does_not_run_on_the_image_size_is_an_error(timm: ModuleType) -> None:
    with pytest.raises(ValueError, match="^timm:picky .* 1x28x28: RuntimeError: maps are used up$"):
        made("timm:picky")
    made("timm:picky", image_size=32)


def test_a_network_that_is_not_a_classifier_is_an_error(timm: ModuleType) -> None:
    assert refusal("timm:features").endswith("got [2, 8, 28, 28]")


def test_patches_that_would_ignore_much_of_an_image_are_an_error(timm: ModuleType) -> None:
    message = refusal("timm:little", patch_size=16)
    assert "12 of 28 rows" in message
    assert "a multiple of 16" in message
    made("timm:little", patch_size=7)
    made("timm:little", patch_size=3)  # leaves out one row


# ---- in a recipe ----


def test_the_run_has_a_valid_folder_name_and_its_network_can_be_loaded(
    timm: ModuleType, tiny: Callable[..., Recipe], tmp_path: Path
) -> None:
    run = convoy.train(tiny(("model.name", "timm:little"), ("train.epochs", 1)), out=tmp_path, show=False)

    assert run.name.startswith("timm_little-s42-")
    assert run.environment.libraries == {"timm": "1.0.31"}
    assert isinstance(network_of(run), Little)


def test_library_version_is_part_of_the_fingerprint_and_its_build_is_not(
    timm: ModuleType, tiny: Callable[..., Recipe]
) -> None:
    recipe = tiny(("model.name", "timm:little"))
    fingerprints = []
    for version in ("1.0.31", "1.0.31+cu130", "1.0.32"):
        timm.__version__ = version
        fingerprints.append(plan_one(recipe).fingerprint)
    first, other_build, newer = fingerprints
    assert first == other_build != newer


def test_a_network_that_fails_only_in_training_mode_is_an_error_before_anything_is_written(
    timm: ModuleType, tiny: Callable[..., Recipe]
) -> None:
    with pytest.raises(ValueError, match="^timm:two_heads cannot be trained: "):
        plan_one(tiny(("model.name", "timm:two_heads")))
