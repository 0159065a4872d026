"""The statistics of benchmarks/training_parity.py, and checks of its plain PyTorch loops."""

import ast
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import stats

import convoy
from convoy.checkpoint import load_weights
from convoy.data.augment import build as build_augmentation
from convoy.data.batches import Batches, Normaliser
from convoy.recipe import Recipe
from convoy.training.run.plan import plan_one

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


parity = load("training_parity")


def values_with(mean: float, sd: float, n: int) -> np.ndarray:
    """n numbers with exactly this mean and standard deviation."""
    values = np.linspace(-1, 1, n)
    return mean + sd * values / values.std(ddof=1)


@pytest.mark.parametrize(
    ("difference", "sd", "verdict"),
    [
        (0.0, 0.001, "equivalent"),
        (0.0005, 0.0005, "equivalent"),  # significantly different from 0, but small
        (0.004, 0.001, "different"),
        (0.0, 0.005, "inconclusive"),
        (0.0025, 0.003, "inconclusive"),
    ],
)
def test_verdict(difference, sd, verdict):
    assert parity.compare(values_with(0.97 + difference, sd, 10), values_with(0.97, sd, 10)).verdict == verdict


def test_interval_and_equivalence_test_agree_with_welchs_formulas():
    convoy, plain = values_with(0.972, 0.004, 10), values_with(0.971, 0.002, 7)
    variances = 0.004**2 / 10, 0.002**2 / 7
    error = sum(variances) ** 0.5
    df = sum(variances) ** 2 / (variances[0] ** 2 / 9 + variances[1] ** 2 / 6)
    half = stats.t.ppf(0.95, df) * error
    result = parity.compare(convoy, plain)
    assert (result.low_90, result.high_90) == pytest.approx((0.001 - half, 0.001 + half))
    assert result.p_equivalence == pytest.approx(stats.t.sf((0.002 - 0.001) / error, df))
    assert result.p_difference == pytest.approx(2 * stats.t.sf(0.001 / error, df))


@pytest.mark.parametrize("difference", [-0.0019, -0.001, 0.0, 0.0007, 0.0015])
@pytest.mark.parametrize("sd", [0.0005, 0.001, 0.002])
def test_equivalent_exactly_if_the_interval_is_within_the_margin(difference, sd):
    result = parity.compare(values_with(0.9 + difference, sd, 10), values_with(0.9, sd, 10))
    inside = result.low_90 > -parity.MARGIN and result.high_90 < parity.MARGIN
    assert (result.verdict == parity.Verdict.EQUIVALENT) == inside


def test_power_of_seeds_needed_is_80_percent_in_simulations():
    n = parity.seeds_needed(0.004, 0.002)
    generator = np.random.default_rng(0)
    convoy = generator.normal(0.97, 0.004, (20_000, n))
    plain = generator.normal(0.97, 0.002, (20_000, n))
    test = stats.ttest_ind(convoy, plain, axis=1, equal_var=False).confidence_interval(0.9)
    power = np.mean((test.low > -parity.MARGIN) & (test.high < parity.MARGIN))
    assert power == pytest.approx(0.8, abs=0.02)


def test_only_an_inconclusive_result_has_seeds_needed():
    assert parity.compare(values_with(0.9, 0.001, 10), values_with(0.9, 0.001, 10)).seeds_needed is None
    assert parity.compare(values_with(0.9, 0.005, 10), values_with(0.9, 0.005, 10)).seeds_needed > 10


def test_runs_with_other_settings_are_ignored():
    setting = parity.SETTINGS[0]
    longer = replace(setting, epochs=setting.epochs + 1)
    records = [{**parity.key(record, "plain", 0), "test_accuracy": 0.9} for record in (setting, longer)]
    assert parity.accuracies(setting, "plain", records) == [0.9]
    assert parity.accuracies(setting, "convoy", records) == []


def test_a_rerun_trains_only_missing_seeds(tmp_path, monkeypatch):
    trained = []

    def train(side):
        def record(setting, data, seed, out):
            trained.append((setting.network, side, seed))
            return 0.9

        return record

    for side in parity.SIDES:
        monkeypatch.setattr(parity, f"train_{side}", train(side))
    monkeypatch.setattr(parity, "write_subset", lambda setting, source, folder: tmp_path / "data.npz")
    settings = parity.SETTINGS[:1]
    parity.train_missing(settings, {"mnist": "mnist"}, 1, tmp_path)
    parity.train_missing(settings, {"mnist": "mnist"}, 2, tmp_path)
    assert trained == [("lenet", side, seed) for seed in (0, 1) for side in parity.SIDES]


@pytest.mark.parametrize(
    ("recipe", "network", "optimizer", "clip_norm", "shape"),
    [
        ("classics-mnist/lenet-published", "LeNet", "lenet_optimizer", None, (1, 28)),
        ("tensor-mnist/corrected", "TwoConvCNN", "two_conv_cnn_optimizer", 10, (1, 28)),
        ("cifar-course/basic-cnn", "BasicCNN", "basic_cnn_optimizer", None, (3, 32)),
    ],
)
def test_both_sides_have_the_same_weights_after_training_on_the_same_batches(
    recipe, network, optimizer, clip_norm, shape, tmp_path
):
    """In float64, because in float32 rounding errors grow from step to step."""
    channels, side = shape
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (100, channels, side, side), dtype=np.uint8)
    labels = np.arange(100) % 10
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
    values = {"data.name": str(tmp_path / "data.npz"), "compute.precision": "float64", "compute.threads": 1}
    recipe = Recipe.load(recipe, [*values.items(), ("train.epochs", 1), ("train.batch_size", 16)])
    run = convoy.train(recipe, out=tmp_path / "out", device="cpu", show=False)
    trained = load_weights(run.path / "best.safetensors")

    plan, module = plan_one(recipe), load("plain_training")
    net = getattr(module, network)().double()
    initial = plan.network.state_dict()
    net.load_state_dict(dict(zip(net.state_dict(), initial.values(), strict=True)))
    plain = getattr(module, optimizer)(net)
    normaliser = Normaliser(plan.prepared.mean, plan.prepared.std, torch.device("cpu"), torch.float64)
    batches = Batches(
        plan.prepared.train,
        batch_size=recipe.train.batch_size,
        seed=recipe.seed,
        normaliser=normaliser,
        augmentation=build_augmentation(recipe.data.augment),
    )
    for step in range(batches.steps_per_epoch):
        module.step(net, plain, *batches.at(0, step), clip_norm=clip_norm)

    for name, value in zip(initial, net.state_dict().values(), strict=True):
        assert torch.allclose(trained[name], value, rtol=1e-9, atol=1e-9), name
        assert not torch.equal(initial[name].double(), trained[name]), name


@pytest.mark.parametrize(
    ("network", "parameters"), [("LeNet", 44_426), ("TwoConvCNN", 698_942), ("BasicCNN", 1_147_466)]
)
def test_plain_networks_have_the_published_parameter_counts(network, parameters):
    module = getattr(load("plain_training"), network)()
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters


def test_plain_training_shares_no_code_with_convoy():
    tree = ast.parse((BENCHMARKS / "plain_training.py").read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {module.partition(".")[0] for module in modules} == {
        "__future__", "argparse", "copy", "numpy", "torch",
    }  # fmt: skip
