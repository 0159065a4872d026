from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from convoy.api import report
from convoy.checkpoint import load_weights
from convoy.cli.main import main
from convoy.evaluation.predict import predict
from convoy.files import read_arrays
from convoy.recipe import Recipe
from convoy.runs import Study
from convoy.studies.compare import ablation
from convoy.studies.kinds import caveats_of, finding_of, sentence_of
from convoy.studies.landscape.band import Measure, Verdict
from convoy.studies.landscape.design import Design, Spec
from convoy.studies.landscape.finding import LandscapeFinding, StepRange
from convoy.studies.landscape.run import run as landscape
from convoy.studies.landscape.surface import LINE_POINTS, Scene, filter_normalised, training_path
from convoy.studies.session import Session
from convoy.training.run.plan import plan_one
from convoy.verifying.result import State
from convoy.verifying.study import verify_finding

LRS = (0.02, 0.002)
NAMES = [each.name for each in fields(Design)]
SPEC = Spec(images=60, resolution=3)
NET = """
from torch import nn


class Small(nn.Module):
    def __init__(self, in_chans, num_classes, image_size, norm=True):
        super().__init__()
        conv = nn.Conv2d(in_chans, 6, 3, padding=1)
        self.body = nn.Sequential(conv, nn.BatchNorm2d(6) if norm else nn.Identity(), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(6 * (image_size // 2) ** 2, num_classes)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))
"""

Make = Callable[..., Recipe]


class Made(NamedTuple):
    study: Study
    out: Path
    recipe: Make


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Recipes on digits: `make(norm=False)`. One thread, three epochs of 7 updates."""
    net = tmp_path_factory.mktemp("net") / "net.py"
    net.write_text(NET)

    def recipe(*, norm: bool = True, **overrides: Any) -> Recipe:
        base = {"model.name": f"{net}:Small", "model.options.norm": norm, "data.name": "digits", "optim.lr": 0.02}
        base |= {"train.epochs": 3, "train.batch_size": 32, "compute.threads": 1, "data.limit": 250}
        base["probe.every_steps"] = 5
        return Recipe.load("defaults/images", [*base.items(), *overrides.items()])

    return recipe


def pair(make: Make) -> list[tuple[str, Recipe]]:
    return [("plain", make(norm=False)), ("norm", make(norm=True))]


def run(make: Make, out: Path, **options: Any) -> Study | None:
    chosen: dict[str, Any] = {"surfaces": SPEC, **options}
    named = {name: chosen.pop(name) for name in NAMES if name in chosen}
    design = Design(**{"lrs": LRS, **named})
    session = Session(out, **{key: chosen.pop(key) for key in ("interrupted",) if key in chosen})
    return landscape(pair(make), session, design, **chosen)


@pytest.fixture(scope="module")
def made(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Made:
    out = tmp_path_factory.mktemp("out")
    study = run(make, out)
    assert study is not None
    return Made(study, out, make)


def test_finding_has_widths_their_ratio_and_smoothness(made: Made) -> None:
    finding: LandscapeFinding = finding_of(made.study)
    assert [recipe.label for recipe in finding.recipes] == ["plain", "norm"]
    plain, norm = (recipe.widths[Measure.LOSS][StepRange.ALL] for recipe in finding.recipes)
    (between,) = finding.pairs
    found = between.ratios[Measure.LOSS][StepRange.ALL]
    assert plain is not None
    assert norm is not None
    assert found.ratio is not None
    assert found.ratio.mean == pytest.approx(norm.mean / plain.mean)
    assert plain.low is None
    assert (found.verdict, between.narrower) == (Verdict.REDUCED, None)
    assert "narrower" not in sentence_of(made.study)
    assert all(recipe.smoothness.beta is not None for recipe in finding.recipes)
    assert (finding.seeds, finding.steps.left_out, finding.step_sizes[0] > 0) == (1, 0, True)
    assert any("250" in caveat for caveat in caveats_of(made.study))


def test_a_varied_key_has_the_ratio_of_its_two_bands(made: Made) -> None:
    """Two recipes that differ in one key."""
    design, points = ablation.combine([("net", made.recipe())], {"model.options.norm": [False, True]})
    study = landscape(points, Session(made.out), Design(LRS), surfaces=None, varied=design)
    assert study is not None
    finding = finding_of(study)
    (factor,), (pair_of_bands,) = finding.factors, finding.pairs
    assert (factor.key, factor.a, factor.b) == ("norm", "false", "true")
    assert factor.ratios == pair_of_bands.ratios
    assert study.name.startswith("landscape-net-norm-")
    assert verify_finding(study).state is State.AGREES


def test_test_set_stays_closed(made: Made) -> None:
    assert made.study.members
    assert all("test" not in member.run.scores for member in made.study.members)


def test_band_spans_the_losses_of_all_rates(made: Made) -> None:
    arrays = read_arrays(made.study.path / "landscape.npz")
    losses = np.stack([m.run.steps["loss"] for m in made.study.members if m.label == "norm"])
    assert arrays["1_low"] == pytest.approx(losses.min(0))
    assert arrays["1_high"] == pytest.approx(losses.max(0))


def test_page_has_the_band_the_probes_and_the_surfaces(made: Made) -> None:
    assert sentence_of(made.study).split(":")[0] in report(made.study).read_text()
    figures = made.study.path / "figures"
    for name in ("loss_band", "along_the_step", "line", "surface", "surface_1", "path", "path_2"):
        assert (figures / f"{name}.png").stat().st_size > 5_000, name


def test_a_second_call_computes_nothing_and_keeps_the_finding(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scene, "loss_at", None)
    before = (made.study.path / "finding.json").read_bytes()
    again = run(made.recipe, made.out)
    assert again is not None
    assert again.path == made.study.path
    assert (again.path / "finding.json").read_bytes() == before


def test_a_landscape_that_is_interrupted_often_has_the_same_finding_and_computes_each_point_once(
    made: Made, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = count()
    original = Scene.loss_at

    def counted(self: Scene, *arguments: Any) -> float:
        next(losses)
        return original(self, *arguments)

    monkeypatch.setattr(Scene, "loss_at", counted)
    shutil.copytree(made.out / "runs", tmp_path / "runs")  # interrupted runs: tests/contract/test_kinds.py
    study = None
    for _ in range(40):
        calls = count(1)
        study = run(make, tmp_path, interrupted=lambda calls=calls: next(calls) > 45)  # type: ignore[misc]
        if study is not None:
            break
    assert study is not None
    assert study.finding_json == made.study.finding_json
    assert next(losses) == 2 * (LINE_POINTS + 2 * SPEC.resolution**2)


@pytest.mark.usefixtures("words_alone")
def test_surfaces_can_be_left_out_and_one_recipe_has_no_comparison(make: Make, tmp_path: Path) -> None:
    recipe = make(**{"train.epochs": 1})
    study = landscape([("norm", recipe)], Session(tmp_path), Design(LRS, 2), surfaces=None)
    assert study is not None
    finding = finding_of(study)
    assert (finding.pairs, finding.seeds, finding.recipes[0].surfaces) == ((), 2, ())
    assert "mean width" in sentence_of(study)
    assert not list(tmp_path.glob("runs/*/weights"))
    assert "Along the step" in report(study).read_text()


def test_runs_that_stopped_early_truncate_the_band_with_a_caveat(make: Make, tmp_path: Path) -> None:
    stopping = make(**{"stop.target_accuracy": 0.5, "train.epochs": 4})
    study = landscape([("norm", stopping)], Session(tmp_path), Design((0.02, 1e-6)), surfaces=None)
    assert study is not None
    lengths = [member.run.status.steps for member in study.members]
    steps = finding_of(study).steps
    assert steps.cut == min(lengths) < max(lengths) == steps.longest
    assert any(f"{steps.cut:,} steps" in caveat for caveat in caveats_of(study))


@pytest.mark.usefixtures("page_alone")
def test_each_band_ends_at_its_shortest_run_and_widths_compare_the_steps_of_all(make: Make, tmp_path: Path) -> None:
    short, long = (make(**{"train.epochs": epochs, "probe.every_steps": 0}) for epochs in (1, 2))
    recipes = [("short", short), ("long", long)]
    study = landscape(recipes, Session(tmp_path), Design(LRS, cut="each", step_probes=False), surfaces=None)
    assert study is not None
    arrays, finding = read_arrays(study.path / "landscape.npz"), finding_of(study)
    assert len(arrays["1_step"]) == 2 * len(arrays["0_step"])
    assert [recipe.steps for recipe in finding.recipes] == [finding.steps.cut, 2 * finding.steps.cut]
    assert finding.recipes[0].probes == 0
    assert finding.pairs[0].ratios[Measure.LOSS][StepRange.ALL].ratio is not None
    assert finding.cut == "each"
    assert report(study).is_file()


def test_runs_with_own_seeds_differ_in_weights_and_form_one_band(make: Make, tmp_path: Path) -> None:
    design = Design(LRS, own_seeds=True, step_probes=False)
    recipes = [(label, make(norm=norm, **{"train.epochs": 1})) for label, norm in (("a", True), ("b", False))]
    study = landscape(recipes, Session(tmp_path), design, surfaces=None)
    assert study is not None
    assert [member.seed for member in study.members] == [42, 43, 44, 45]
    assert finding_of(study).seeds == 1
    losses = np.stack([m.run.steps["loss"] for m in study.members if m.label == "b"])
    assert read_arrays(study.path / "landscape.npz")["1_low"] == pytest.approx(losses.min(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut": "none"}, "'all' or 'each'"),
        ({"lrs": (1e-3,)}, "two or more different"),
        ({"lrs": (1e-3, 1e-3)}, "two or more different"),
        ({"lrs": (1e-3, 0.0)}, "greater than 0"),
        ({"lrs": (1e-3, float("nan"))}, "finite"),
        ({"seeds": 0}, "at least one recipe and one seed"),
        ({"surfaces": Spec(resolution=2)}, "3 to 501 points"),
        ({"surfaces": Spec(images=0)}, "surface images = 0"),
    ],
)
def test_invalid_options_are_an_error_and_nothing_is_written(
    make: Make, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(make, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_rate_that_is_not_a_number_is_a_one_line_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["landscape", "lenet", "--lrs", "1e-3,fast"])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "got 'fast'" in error


def test_filters_of_a_direction_have_the_norms_of_the_networks_filters_and_biases_are_zero() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))
    direction = filter_normalised(module, seed=1)
    for parameter, moved in zip(module.parameters(), direction, strict=True):
        if parameter.ndim < 2:
            assert not moved.any()
        else:
            assert torch.allclose(moved.flatten(1).norm(dim=1), parameter.flatten(1).norm(dim=1))


def scene_of(made: Made, label: str) -> Scene:
    run = next(m.run for m in made.study.members if m.label == label and m.run.recipe.optim.lr == LRS[0])
    return Scene(run, plan_one(run.recipe), SPEC.images)


def test_the_centre_of_a_plane_is_the_loss_of_the_saved_weights(made: Made) -> None:
    arrays = read_arrays(made.study.path / "landscape.npz")
    scene = scene_of(made, "norm")
    logits = predict(scene.module, scene._images, scene._normaliser)  # not loss_at, which computes the plane
    kept = nn.functional.cross_entropy(torch.from_numpy(logits).double(), scene._labels).item()
    assert arrays["1_plane_loss"][1, 1] == pytest.approx(kept, rel=1e-5)
    assert arrays["1_line_loss"][0, LINE_POINTS // 2] == pytest.approx(kept, rel=1e-5)


def test_path_has_the_principal_directions_of_its_weights(made: Made) -> None:
    scene = scene_of(made, "norm")
    run = next(m.run for m in made.study.members if m.label == "norm" and m.run.recipe.optim.lr == LRS[0])
    path = training_path(run, scene)
    assert path is not None
    names = [name for name, _ in scene.module.named_parameters()]
    files = sorted((run.path / "weights").iterdir())
    rows = np.stack([np.concatenate([load_weights(file)[name].flatten().numpy() for name in names]) for file in files])
    kept = np.concatenate([values.flatten().numpy() for values in scene.kept])
    rows = rows.astype(np.float64) - kept
    _, singular, principal = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    assert path.explained == pytest.approx((singular**2 / (singular**2).sum())[:2], rel=1e-4)
    assert np.abs(path.at) == pytest.approx(np.abs(rows @ principal[:2].T), abs=1e-4)
    assert path.epochs.tolist() == [0, 1, 2, 3]
    lengths = [sum(float((part**2).sum()) for part in direction) for direction in path.directions]
    assert lengths == pytest.approx([1, 1], rel=1e-4)


def test_a_loss_that_is_not_finite_is_infinite(made: Made) -> None:
    scene = scene_of(made, "norm")
    away = [torch.full_like(values, 1e30) for values in scene.kept]
    assert scene.loss_at((away,), (1e10,)) == float("inf")


def test_one_epoch_has_no_path(make: Make, tmp_path: Path) -> None:
    short = make(**{"train.epochs": 1})
    study = landscape([("norm", short)], Session(tmp_path), Design(LRS), surfaces=SPEC)
    assert study is not None
    assert finding_of(study).recipes[0].surfaces == ("line", "plane")
    assert any("two epochs" in caveat for caveat in caveats_of(study))


@pytest.mark.usefixtures("page_alone")
def test_skipped_steps_are_in_the_sentence_and_drawn_as_gaps(make: Make, tmp_path: Path) -> None:
    options = {"optim.name": "sgd", "train.epochs": 2, "data.limit": 200}
    study = landscape([("net", make(norm=False, **options))], Session(tmp_path), Design((1e15, 0.02)), surfaces=None)
    assert study is not None
    steps = finding_of(study).steps
    assert steps.left_out > 0 or steps.diverged > 0
    assert f"{steps.finite} of {steps.longest} steps" in sentence_of(study)
    assert report(study).is_file()
