"""Scores of saved weights: keys that can be set, image folders, and the count of openings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import tiny_recipe
from tests.data.photographed_digits import photograph

import convoy
from convoy.checkpoint import load_into, load_weights
from convoy.data import load
from convoy.files import read_json
from convoy.recipe import Recipe
from convoy.runs import Run

Make = Callable[..., Recipe]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trained(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("trained")
    return convoy.train(tiny_recipe(folder, stripes, ("train.epochs", 1)), out=folder / "out", show=False)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy of the run, in a workspace of its own."""
    shutil.copytree(trained.path.parents[1], tmp_path / "elsewhere")
    return Run(tmp_path / "elsewhere" / "runs" / trained.name)


def test_an_opening_is_counted_for_the_run_in_its_workspace(call: Call, run: Run) -> None:
    code, out, err = call("test", run.path, "--json")
    assert code == 0, err
    assert json.loads(out)["openings"] == 2
    ((_, names),) = read_json(run.path.parents[1] / "test_openings.json").items()
    assert names == [run.name, run.name]
    assert not Path("convoy-runs").exists()


def test_normalisation_of_a_weights_file_can_be_set(run: Run, tmp_path: Path, stripes: Path) -> None:
    weights = shutil.copyfile(run.path / "best.safetensors", tmp_path / "weights.safetensors")
    net, out = run.recipe.model.name, tmp_path / "out"
    normalise = {"data.normalise": [run.data.mean, run.data.std]}
    same = convoy.test(weights, model=net, data=str(stripes), set=normalise, out=out)
    other = convoy.test(weights, model=net, data=str(stripes), set={"data.normalise": [0.9, 0.1]}, out=out)
    assert same.score.loss == run.scores["test"].loss
    assert other.score.loss != same.score.loss


@pytest.mark.parametrize("path", ["data.normalise", "optim.lr", "data.augment", "train.epochs"])
def test_settings_of_the_training_cannot_be_changed_in_a_test_of_a_run(run: Run, path: str) -> None:
    values = {"data.normalise": [0.5, 0.5], "optim.lr": 0.1, "data.augment": [], "train.epochs": 3}
    for target in (run, run.path / "best.safetensors"):
        with pytest.raises(ValueError, match=f"^{path}: .*data.limit"):
            convoy.test(target, set={path: values[path]})


def folder_of(root: Path, images: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> Path:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / f"{number:03}.png")
    return root


@pytest.fixture
def photos(stripes: Path, tmp_path: Path) -> Path:
    """An image folder of the test images of `stripes`."""
    test = load(str(stripes)).test
    assert test is not None
    return folder_of(tmp_path / "photos", test.images, test.labels, test.classes)


@pytest.mark.parametrize("part", ["", "test"])
def test_every_image_of_a_folder_without_a_training_part_is_scored(run: Run, photos: Path, part: str) -> None:
    root = photos
    if part:
        shutil.move(photos, root := photos.parent / "root" / part)
        root = root.parent
    tested = convoy.test(run, data=str(root))
    assert tested.data == root.name
    assert (tested.score.n, tested.score.correct) == (150, run.scores["test"].correct)
    assert tested.score.loss == pytest.approx(run.scores["test"].loss)  # the images are in another order
    assert convoy.test(run, data=str(root), limit=30).score.n == 30


def test_class_folders_are_matched_by_name_and_may_be_missing(run: Run, photos: Path) -> None:
    shutil.rmtree(photos / run.data.classes[0])
    tested = convoy.test(run, data=str(photos))
    recalls, expected = ([row.recall for row in score.per_class[1:]] for score in (tested.score, run.scores["test"]))
    assert tested.score.n == 100
    assert recalls == expected
    (photos / "other").mkdir()
    with pytest.raises(ValueError, match="unknown class 'other'"):
        convoy.test(run, data=str(photos))


@pytest.mark.parametrize(
    ("keys", "message"), [({"data.split.seed": 3}, r"data\.split\.seed: "), ({"data.size": 16}, r"data\.size = 16: ")]
)
def test_keys_that_cannot_be_set_for_a_folder_raise(run: Run, photos: Path, keys: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convoy.test(run, data=str(photos), set=keys)


def test_only_the_test_images_of_the_training_folder_are_scored(tiny: Make, photos: Path, tmp_path: Path) -> None:
    run = convoy.train(tiny(("data.name", str(photos)), ("train.epochs", 1)), out=tmp_path / "out", show=False)
    shutil.copytree(photos, copy := tmp_path / "copy")
    for data in (photos, copy):
        assert convoy.test(run, data=str(data)).score == run.scores["test"]
    next((photos / run.data.classes[0]).iterdir()).unlink()
    with pytest.raises(ValueError, match="may contain training images"):
        convoy.test(run, data=str(photos))


def test_images_of_other_data_that_were_trained_on_are_counted(
    call: Call, tiny: Make, photos: Path, tmp_path: Path
) -> None:
    run = convoy.train(tiny(("data.name", str(photos)), ("train.epochs", 1)), out=tmp_path / "out", show=False)
    shutil.copytree(photos, copy := tmp_path / "copy")
    next((copy / run.data.classes[0]).iterdir()).unlink()
    tested = convoy.test(run, data=str(copy))
    assert tested.score.n == 149
    assert tested.trained_on in (run.data.counts["train"] - 1, run.data.counts["train"])
    code, out, err = call("test", run.path, "--data", copy)
    assert code == 0, err
    assert f"{tested.trained_on} of the 149" in out

    for path in copy.rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert convoy.test(run, data=str(copy)).trained_on == 0
    next((photos / run.data.classes[0]).iterdir()).unlink()
    assert convoy.test(run, data=str(copy)).trained_on is None


def test_photographs_of_digits_are_converted_as_in_predict(tmp_path: Path) -> None:
    run = convoy.train("lenet", data="mnist", limit=100, epochs=1, out=tmp_path / "out", show=False)
    (tmp_path / "photos" / "3").mkdir(parents=True)
    for seed in range(4):
        photograph(3, np.random.default_rng(seed)).save(tmp_path / "photos" / "3" / f"{seed}.png")
    tested = convoy.test(run, data=str(tmp_path / "photos"))
    predictions = convoy.predict(run, tmp_path / "photos" / "3", out=tmp_path / "out")
    assert tested.photographs == 4
    assert tested.score.correct == sum(prediction.predicted == "3" for prediction in predictions)
    assert convoy.test(run, data=str(tmp_path / "photos"), raw=True).photographs == 0


def test_weights_without_a_recipe_need_size_and_normalisation_on_a_folder(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    weights = load_weights(run.path / "best.safetensors")
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, tmp_path / "parallel.pth")
    net, options = run.recipe.model.name, {"data": str(photos), "out": tmp_path / "out"}
    mean, std = run.data.mean, run.data.std
    with pytest.raises(ValueError, match="--size .* --mean .* --std"):
        convoy.test(tmp_path / "parallel.pth", model=net, **options)
    with pytest.raises(ValueError, match="both mean and std"):
        convoy.test(tmp_path / "parallel.pth", model=net, size=12, mean=mean, **options)
    tested = convoy.test(tmp_path / "parallel.pth", model=net, size=12, mean=mean, std=std, **options)
    assert (tested.score.n, tested.score.loss) == (150, pytest.approx(run.scores["test"].loss))
    assert (tested.mean, tested.std) == (tuple(mean), tuple(std))


def test_data_parallel_prefix_is_removed_unless_the_network_has_it(tmp_path: Path) -> None:
    wrapped = torch.nn.DataParallel(torch.nn.Linear(2, 2))
    torch.save(wrapped.state_dict(), tmp_path / "weights.pth")
    for network in (torch.nn.Linear(2, 2), torch.nn.DataParallel(torch.nn.Linear(2, 2))):
        load_into(network, tmp_path / "weights.pth")
        assert torch.equal(next(network.parameters()), wrapped.module.weight)
    with pytest.raises(ValueError, match="weights of a different network"):
        load_into(torch.nn.Linear(2, 2, bias=False), tmp_path / "weights.pth")
