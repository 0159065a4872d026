"""Pretrained weights of timm and torchvision, with stand-ins for both libraries, which need not be installed."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

import convoy
from convoy.checkpoint import load_weights, save_weights
from convoy.evaluation.load import network_of
from convoy.events import Control
from convoy.models import create, pretrained
from convoy.models.entry import Geometry
from convoy.recipe import Recipe
from convoy.reporting.tables import environment_table
from convoy.runs import Run
from convoy.training.run.plan import Plan, plan_one
from convoy.training.run.run_one import run_one

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
GREY = [[0.5], [0.25]]  # their means
CLASSES = 1000


class Net(nn.Module):
    def __init__(self, num_classes: int = CLASSES, in_chans: int = 3, cells: int = 0, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, 4, 3, stride=3)
        self.norm = nn.BatchNorm2d(4)
        if cells:
            self.position = nn.Parameter(torch.zeros(1, cells))
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(self.conv(x)).mean(dim=(2, 3)))


def weights_of_the_library() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        module = Net()
        module.norm.running_mean.normal_()
    return module.state_dict()


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A fake timm that counts downloads and can be `offline`."""

    def create_model(name: str, pretrained: bool, **options: Any) -> nn.Module:
        module = Net(**options)
        if pretrained:
            library.downloads += 1  # type: ignore[attr-defined]
            if library.offline:
                raise URLError("no route\nto host")
            weights = weights_of_the_library()
            weights["conv.weight"] = weights["conv.weight"].sum(1, keepdim=True)
            del weights["fc.weight"], weights["fc.bias"]
            module.load_state_dict(weights, strict=False)
        return module

    def get_pretrained_cfg(name: str) -> SimpleNamespace:
        source = "timm/net.a1" if name != "raw" else None
        return SimpleNamespace(hf_hub_id=source, url="", file=None, mean=MEAN, std=STD, input_size=(3, 24, 24))

    library = ModuleType("timm")
    library.__dict__.update(
        __version__="1.0.31",
        list_models=lambda: ["net", "raw"],
        create_model=create_model,
        models=SimpleNamespace(get_pretrained_cfg=get_pretrained_cfg),
        offline=False,
        downloads=0,
    )
    monkeypatch.setitem(sys.modules, "timm", library)
    return library


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A fake torchvision. A position embedding has one cell per pixel of a row."""
    weights = SimpleNamespace(
        url="https://example.org/net-0123.pth",
        transforms=lambda: SimpleNamespace(mean=list(MEAN), std=list(STD), crop_size=[24]),
    )

    def get_model(name: str, weights: Any, image_size: int = 24, **options: Any) -> nn.Module:
        module = Net(cells=image_size if name == "sized" else 0, **options)
        if weights is not None:
            assert "num_classes" not in options
            module.load_state_dict(weights_of_the_library(), strict=name != "sized")
        return module

    library = ModuleType("torchvision")
    models = SimpleNamespace(
        list_models=lambda module: ["net", "sized"],
        get_model=get_model,
        get_model_weights=lambda name: SimpleNamespace(DEFAULT=weights),
    )
    library.__dict__.update(__version__="0.29.1", models=models)
    monkeypatch.setitem(sys.modules, "torchvision", library)
    return library


@pytest.fixture
def recipe(tiny: Callable[..., Recipe]) -> Callable[..., Recipe]:
    def make(name: str = "timm:net", *more: tuple[str, Any]) -> Recipe:
        return tiny(("model.name", name), ("model.options.pretrained", True), *more)

    return make


def finish(recipe: Recipe, out: Path, **options: Any) -> Run:
    return Run(list(run_one(recipe, out, **options))[-1].run)


def log(run: Run) -> str:
    return (run.path / "log.txt").read_text()


# ---- initial weights ----


@pytest.mark.parametrize("name", ["timm:net", "torchvision:net"])
def test_the_run_starts_from_the_weights_with_a_new_head(
    timm: ModuleType, torchvision: ModuleType, recipe: Callable[..., Recipe], tmp_path: Path, name: str
) -> None:
    run = finish(recipe(name, ("model.freeze", "all-but-head")), tmp_path)

    expected, found = weights_of_the_library(), load_weights(run.path / "best.safetensors")
    expected["conv.weight"] = expected["conv.weight"].sum(1, keepdim=True)  # grey images
    body = [key for key in found if not key.startswith("fc.")]
    assert all(torch.equal(found[key], expected[key]) for key in body)  # running statistics, too
    assert found["fc.weight"].shape == (3, 4)
    digest = hashlib.sha256()
    for key in sorted(body):
        digest.update(f"{key} {list(found[key].shape)} ".encode() + found[key].numpy().tobytes())
    weights = run.environment.weights
    assert weights is not None
    assert (weights.sha256, list(weights.random)) == (digest.hexdigest(), ["fc"])
    assert weights.source == {"timm:net": "timm/net.a1", "torchvision:net": "https://example.org/net-0123.pth"}[name]
    assert weights.sha256[:8] in log(run)
    assert weights.sha256 in str(environment_table([run.environment]))
    assert f"{4 * 3 + 3:,} of {4 * 3 + 3 + 4 * 9 + 4 + 8:,} parameters" in log(run)
    assert [list(run.data.mean), list(run.data.std)] == GREY
    assert isinstance(network_of(run), Net)


def test_head_has_the_random_weights_that_the_network_would_have_without_pretrained(
    timm: ModuleType, recipe: Callable[..., Recipe], tiny: Callable[..., Recipe]
) -> None:
    plain = plan_one(tiny(("model.name", "timm:net")))
    plan = plan_one(recipe())
    assert torch.equal(plan.network.conv.weight, plain.network.conv.weight)
    plan.with_pretrained()
    assert torch.equal(plan.network.fc.weight, plain.network.fc.weight)
    assert not torch.equal(plan.network.conv.weight, plain.network.conv.weight)
    assert plan.fingerprint != plain.fingerprint


def test_head_is_loaded_if_the_data_have_the_classes_of_the_weights(torchvision: ModuleType) -> None:
    geometry, options = Geometry(3, CLASSES, 24), {"pretrained": True}
    module = create("torchvision:net", **geometry._asdict(), options=options)
    assert pretrained.load(module, "torchvision:net", geometry, options).random == []
    assert all(torch.equal(module.state_dict()[key], value) for key, value in weights_of_the_library().items())


def test_colour_images_are_normalised_by_colour(
    timm: ModuleType, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (60, 12, 12, 3), dtype=np.uint8)
    np.savez(tmp_path / "colour.npz", x_train=images, y_train=np.arange(60) % 3)
    prepared = plan_one(recipe("timm:net", ("data.name", str(tmp_path / "colour.npz")))).prepared
    assert (prepared.mean, prepared.std) == (MEAN, STD)


def test_recipe_may_have_another_normalisation_which_is_logged(
    timm: ModuleType, recipe: Callable[..., Recipe], tiny: Callable[..., Recipe]
) -> None:
    own = plan_one(recipe("timm:net", ("data.normalise", "train")))
    assert own.prepared.mean == plan_one(tiny()).prepared.mean
    fixed, default = plan_one(recipe("timm:net", ("data.normalise", [0.1, 0.2]))), plan_one(recipe())
    assert fixed.prepared.mean == (0.1,)
    assert own.start_notes[0] == fixed.start_notes[0] != default.start_notes[0]
    assert any("24" in note and "12" in note for note in default.start_notes)  # pixels


# ---- repetition, resume and the network ----


def test_finished_run_is_reused_and_stopped_run_resumes_bit_exactly_without_the_librarys_weights(
    timm: ModuleType, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    uninterrupted = finish(recipe(), tmp_path / "a")
    assert timm.downloads == 1
    stopped = finish(recipe(), tmp_path / "b", control=lambda: Control.PAUSE)
    assert timm.downloads == 2
    timm.offline = True
    resumed = finish(recipe(), tmp_path / "b")
    again = finish(recipe(), tmp_path / "a")

    assert timm.downloads == 2
    assert stopped.path == resumed.path
    assert again.path == uninterrupted.path
    assert resumed.environment.weights == uninterrupted.environment.weights
    one, other = (load_weights(run.path / "best.safetensors") for run in (uninterrupted, resumed))
    assert all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(ValueError, match="timm/net.a1"):
        finish(recipe(), tmp_path / "a", fresh=True)
    assert network_of(again)


def test_a_failed_download_is_a_one_line_error_and_writes_nothing(
    timm: ModuleType, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    timm.offline = True
    with pytest.raises(
        ValueError, match=r"^timm:net: cannot load .*timm/net\.a1 \(URLError: .*no route.*--init FILE"
    ) as e:
        convoy.train(recipe(), out=tmp_path / "out", show=False)
    assert "\n" not in str(e.value)
    assert not list((tmp_path / "out").rglob("*.toml"))


def test_network_without_weights_is_an_error_before_training(timm: ModuleType, recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(ValueError, match="^timm:raw: timm has no pretrained weights"):
        plan_one(recipe("timm:raw"))
    with pytest.raises(ValueError, match="^lenet has no pretrained weights; use --init"):
        create("lenet", in_chans=1, num_classes=3, image_size=28, options={"pretrained": True})


def test_error_for_weights_of_another_image_size_names_the_size(
    torchvision: ModuleType, recipe: Callable[..., Recipe]
) -> None:
    with pytest.raises(ValueError, match=r"^torchvision:sized: .* 24 pixels, not 12 \(position .* data\.size = 24$"):
        plan_one(recipe("torchvision:sized")).with_pretrained()


def test_pretrained_is_true_or_false_and_not_combined_with_init(
    timm: ModuleType, recipe: Callable[..., Recipe]
) -> None:
    with pytest.raises(ValueError, match="^pretrained = 'yes' in model.options of timm:net"):
        plan_one(recipe().override({"model.options.pretrained": "yes"}))
    with pytest.raises(ValueError, match=r"model\.options\.pretrained and model\.init"):
        plan_one(recipe("timm:net", ("model.init", __file__)))


# ---- the normalisation in a recipe ----


def test_the_default_normalisation_comes_from_the_weights() -> None:
    on, off = {"model.options.pretrained": True}, {"model.options.pretrained": False}
    plain = Recipe.load("defaults/images", [("model.name", "timm:net")])
    assert plain.data.normalise == "train"
    changed = plain.override(on)
    assert changed.data.normalise == changed.override({"seed": 3}).data.normalise == "weights"
    assert changed.override(off).data.normalise == "train"
    own = plain.override(on | {"data.normalise": "train"})
    assert own.data.normalise == own.override({"seed": 3}).data.normalise == "train"
    assert plain.override(on | {"data.normalise": [0.5, 0.5]}).override(off).data.normalise == (0.5, 0.5)
    with pytest.raises(ValueError, match=r"data\.normalise = 'weights' needs"):
        plain.override({"data.normalise": "weights"})


def test_recipe_of_a_run_is_read_unchanged(tmp_path: Path) -> None:
    for normalise in ({}, {"data.normalise": "train"}):
        recipe = Recipe.load("defaults/images").override(
            {"model.name": "timm:net", "model.options": {"pretrained": True}, **normalise}
        )
        (tmp_path / "recipe.toml").write_text(recipe.to_toml())
        assert Recipe.load(str(tmp_path / "recipe.toml")) == recipe


# ---- the real libraries, with weights files in their caches ----


def installed(library: str) -> ModuleType:
    try:
        return importlib.import_module(library)
    except Exception as error:  # torchvision for another torch raises RuntimeError
        pytest.skip(f"{library}: {error}")


def check_loaded(plan: Plan, weights: dict[str, torch.Tensor], first: str, head: str) -> None:
    weights[first] = weights[first].sum(1, keepdim=True)  # grey images
    loaded = plan.with_pretrained()
    assert loaded.weights is not None
    assert list(loaded.weights.random) == [head]
    found = loaded.network.state_dict()
    assert all(torch.equal(found[key], weights[key]) for key in found if not key.startswith(f"{head}."))


def test_installed_timm(recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, constants = installed("timm"), installed("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    weights = library.create_model("test_resnet").state_dict()
    repository, revision = library.models.get_pretrained_cfg("test_resnet").hf_hub_id, "0" * 40
    folder = tmp_path / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    save_weights(folder / "snapshots" / revision / "model.safetensors", weights)
    check_loaded(plan_one(recipe("timm:test_resnet", ("data.size", 32))), weights, "conv1.0.weight", "fc")


def test_installed_torchvision(recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = installed("torchvision")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = library.models.get_model("mobilenet_v3_small").state_dict()
    name = library.models.get_model_weights("mobilenet_v3_small").DEFAULT.url.rpartition("/")[2]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(weights, tmp_path / "hub" / "checkpoints" / name)
    plan = plan_one(recipe("torchvision:mobilenet_v3_small", ("data.size", 64)))
    check_loaded(plan, weights, "features.0.0.weight", "classifier.3")


def test_googlenet_on_grey_images_has_the_outputs_of_three_equal_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = installed("torchvision")
    name = "torchvision:googlenet"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    original = library.models.googlenet(init_weights=False).eval()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    file = library.models.get_model_weights("googlenet").DEFAULT.url.rpartition("/")[2]
    torch.save(original.state_dict(), tmp_path / "hub" / "checkpoints" / file)
    geometry, options = Geometry(1, CLASSES, 64), {"pretrained": True}
    module = create(name, **geometry._asdict(), options=options)
    pretrained.load(module, name, geometry, options)
    grey = torch.rand(2, 1, 64, 64)
    (mean,), (std,) = pretrained.weights_info(name).statistics(1)
    original.transform_input = False
    with torch.no_grad():
        expected = original((grey.expand(-1, 3, -1, -1) - 0.5) / 0.5)
        assert torch.allclose(module.eval()((grey - mean) / std), expected, atol=1e-4)
    with pytest.raises(ValueError, match="transform_input = true .* needs colour images"):
        create(name, **geometry._asdict(), options={"transform_input": True})
