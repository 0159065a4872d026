"""`convoy explain`: its numbers, its files, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import NET, Call
from tests.fake_runs import Setting, fake_run

import convoy
from convoy.explaining.pictures import over_image, signed
from convoy.explaining.result import EXPLANATION
from convoy.reporting import EXPLAINED
from convoy.reporting.pages import run_page
from convoy.runs import Run, Workspace

LINEAR = """
from torch import nn


class Linear(nn.Module):
    def __init__(self, in_chans, num_classes, image_size):
        super().__init__()
        self.head = nn.Linear(in_chans * image_size**2, num_classes)

    def forward(self, x):
        return self.head(x.flatten(1))
"""


def trained(folder: Path, data: Path, source: str = NET) -> Run:
    (folder / "net.py").write_text(source)
    options = {"compute.threads": 1, "train.batch_size": 60, "optim.lr": 0.01}
    return convoy.train(folder / "net.py", data=str(data), epochs=2, set=options, out=folder / "out", show=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stripes: Path) -> Run:
    """A user's network on grey images of 12 x 12 pixels with a bar at one of three positions."""
    return trained(tmp_path_factory.mktemp("explained"), stripes)


@pytest.mark.usefixtures("page_alone")
def test_an_explanation_has_numbers_arrays_and_a_page_that_the_report_links_to(run: Run) -> None:
    openings = Workspace(run.path.parents[1]).openings()
    links = len(run_page(run, run.path).links)

    found, page = convoy.explain(run, samples=9, points=60)

    table, arrays = json.loads(page.with_suffix(".json").read_text()), np.load(page.with_suffix(".npz"))
    score = run.scores["test"]
    assert page == run.path / EXPLAINED
    assert run_page(run, run.path).links[links].link == EXPLAINED
    assert Workspace(run.path.parents[1]).openings() == openings
    assert (table["schema"], EXPLANATION.validate_python(table)) == (1, found)
    assert (found.correct, found.images_of_part, found.images) == (score.correct, 150, 60)
    assert (found.cam_layer, found.map_layers) == ("body.2", ("body.0",))
    assert [row.name for row in found.layers] == ["body.0", "body.1", "body.2", "head"]
    assert sum(pair.images for pair in found.confused) == score.n - score.correct
    assert len(found.examples) == len(arrays["images"]) == 9
    assert arrays["attributions"].shape == (len(arrays["image_of"]), 1, 12, 12)
    assert arrays["cams"].shape == (len(arrays["image_of"]), 12, 12)
    assert arrays["tsne"].shape == arrays["components"].shape == (60, 2)
    assert found.largest_error < 0.1
    totals = arrays["attributions"].sum(axis=(1, 2, 3))
    assert totals == pytest.approx([each.total for image in found.examples for each in image.attributions], abs=1e-4)


@pytest.mark.usefixtures("words_alone")
def test_the_same_seed_chooses_the_same_images_and_gives_the_same_map(run: Run, tmp_path: Path) -> None:
    options = {"samples": 3, "points": 40, "steps": 4}
    pages = [
        convoy.explain(run, seed=seed, save=tmp_path / name, **options).page
        for name, seed in zip("abc", (1, 1, 2), strict=True)
    ]

    first, same, other = (dict(np.load(page.with_suffix(".npz"))) for page in pages)

    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert not np.array_equal(first["index"], other["index"])


@pytest.mark.usefixtures("words_alone")
def test_image_files_are_explained_for_the_predicted_class(run: Run, tmp_path: Path, call: Call) -> None:
    bar = np.full((24, 24), 40, np.uint8)
    bar[18:22] = 220
    Image.fromarray(bar).save(tmp_path / "bar.png")

    code, out, err = call(
        "explain", run.path, "--image", tmp_path / "bar.png", "--image", tmp_path / "bar.png", "--points", 20,
        "--layer", "body.1,body.3", "--json",
    )  # fmt: skip

    assert code == 0, err
    image, again = json.loads(out)["examples"]
    assert (Path(image["source"]).name, image["index"], image["true_class"]) == ("bar.png", None, "")
    (prediction,) = convoy.predict(run, tmp_path / "bar.png")
    assert [each["name"] for each in image["attributions"]] == [prediction.predicted]
    assert again["attributions"] == image["attributions"]
    assert image["attributions"][0]["probability"] == pytest.approx(prediction.confidence)
    assert json.loads(out)["map_layers"] == ["body.1", "body.3"]


@pytest.mark.usefixtures("words_alone")
def test_colour_images_and_a_network_without_convolutions(tmp_path: Path) -> None:
    """Its integrated gradients are exact, and it has no class activation maps."""
    random = np.random.default_rng(0)
    labels = np.arange(90) % 2
    images = random.integers(0, 100, (90, 8, 8, 3), dtype=np.uint8)
    images[labels == 1, :, :, 0] += 100
    np.savez(tmp_path / "red.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])

    found, page = convoy.explain(trained(tmp_path, tmp_path / "red.npz", LINEAR), samples=4, steps=2)

    arrays = np.load(page.with_suffix(".npz"))
    assert (found.cam_layer, found.map_layers, arrays["cams"].size) == (None, (), 0)
    assert arrays["attributions"].shape[1:] == (3, 8, 8)
    assert found.largest_error < 1e-4
    assert found.map is not None
    assert found.map.features == 192


def test_invalid_input_is_one_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    options: dict[str, dict[str, object]] = {
        "body.9.*did you mean 'body": {"layer": "body.9"},
        "the layers with feature maps": {"layer": "head"},
        "text.png": {"image": tmp_path / "text.png"},
        "nowhere.png": {"image": [tmp_path / "nowhere.png"]},
        "samples = 0": {"samples": 0},
        "points = 5000: expected at most 2,000": {"points": 5000},
        "steps = 1001: expected at most 1,000": {"steps": 1001},
    }
    for message, wrong in options.items():
        with pytest.raises(ValueError, match=message):
            convoy.explain(run, save=tmp_path / "page", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no run or study 'nothing'"):
        convoy.explain("nothing", out=tmp_path)
    assert not (tmp_path / "page").exists()


def test_runs_that_are_unfinished_or_whose_data_are_missing_or_changed_are_errors(
    tmp_path: Path, stripes: Path
) -> None:
    data = tmp_path / "data.npz"
    data.write_bytes(stripes.read_bytes())
    run = trained(tmp_path, data)
    unfinished = fake_run(tmp_path / "fake", setting=Setting(scored=()))
    arrays = dict(np.load(data))

    np.savez(data, **{**arrays, "x_test": arrays["x_test"][::-1]})
    with pytest.raises(ValueError, match="data.npz has changed since"):
        convoy.explain(run)
    data.unlink()
    with pytest.raises(ValueError, match="the images of .* cannot be read"):
        convoy.explain(run)
    with pytest.raises(ValueError, match="expected a finished run with a score"):
        convoy.explain(unfinished)


def test_the_largest_value_has_the_full_colour() -> None:
    image, cam = np.full((1, 8, 8), 255, np.uint8), np.zeros((8, 8), np.float32)
    cam[2, 5] = 3.0
    values = np.zeros((8, 8), np.float32)
    values[0, 0], values[7, 7] = 2.0, -1.0

    heat, pixels = over_image(image, cam), signed(values, 2.0)

    assert np.unravel_index(heat[2].argmin(), (8, 8)) == (2, 5)
    assert (heat[:, 7, 0] == 255).all()
    assert (pixels[:, 3, 3] == 255).all()
    assert pixels[2, 0, 0] > pixels[0, 0, 0]  # blue
    assert pixels[0, 7, 7] > pixels[2, 7, 7]  # orange
