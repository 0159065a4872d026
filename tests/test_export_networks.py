"""Exported networks, loaded without Convoy, give the logits of the run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from tests.conftest import Call
from tests.data.photographed_digits import photograph
from tests.fake_runs import fake_run, mnist
from tests.forks import Done, run_code
from tests.random_runs import random_run

import convoy
from convoy import exporting
from convoy.data import load
from convoy.exporting import SUFFIXES, bundle, graphs
from convoy.exporting.bundle import network_py
from convoy.files import write_arrays, write_json
from convoy.recipe import Recipe
from convoy.runs import Run

WITH_ONNX = find_spec("onnxruntime") is not None and find_spec("onnxscript") is not None
GRAPHS = [pytest.param("onnx", marks=pytest.mark.skipif(not WITH_ONNX, reason="needs the extra onnx")), "pt2"]


@pytest.fixture(scope="module")
def run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    shared = {"compute.threads": 1, "optim.lr": 0.003, "train.batch_size": 20}
    out = tmp_path_factory.mktemp("runs")
    return convoy.train(
        "defaults/images", model="two_conv_cnn", data=str(stripes), epochs=1, limit=400, out=out, set=shared, show=False
    )


@pytest.fixture(scope="module")
def images(stripes: Path) -> np.ndarray:
    """uint8 [7, 1, 12, 12]: another number than in the example of the export."""
    test = load(str(stripes)).test
    assert test is not None
    return test.images[:7]


def logits_of(run: Run, images: np.ndarray) -> np.ndarray:
    model = convoy.load(run)
    with torch.no_grad():
        return model(model.preprocess(images)).numpy()


def reloaded(path: Path, to: str) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]:
    """The exported network, and its facts."""
    if to == "pt2":
        extra = {"facts.json": ""}
        module = torch.export.load(path, extra_files=extra).module()
        return lambda x: module(torch.from_numpy(x.copy())).detach().numpy(), json.loads(extra["facts.json"])
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    ((source, target),) = zip(session.get_inputs(), session.get_outputs(), strict=True)
    assert (source.name, target.name, source.shape[1:]) == ("images", "logits", [1, 12, 12])
    return lambda x: session.run(None, {"images": x})[0], session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize("to", GRAPHS)
def test_graph_takes_any_number_of_images_and_gives_the_logits_of_the_run(
    run: Run, images: np.ndarray, to: str, tmp_path: Path
) -> None:
    openings = (run.path.parents[1] / "test_openings.json").read_bytes()
    (path,), parity = convoy.export(run, tmp_path / "net", to=to)
    assert parity is not None
    assert (parity.part, parity.images) == ("validation", run.data.counts["validation"])
    assert parity.difference <= 1e-5
    assert parity.agreeing == parity.images
    network, facts = reloaded(path, to)
    expected = logits_of(run, images)
    for count in (1, 7):
        np.testing.assert_allclose(network(images[:count]), expected[:count], atol=1e-5 * np.abs(expected).max())
    assert json.loads(facts["classes"]) == list(run.data.classes)
    assert (facts["preprocessing"], facts["image_size"]) == ("inside", "12")
    assert json.loads(facts["mean"]) == pytest.approx(run.data.mean)
    assert (run.path.parents[1] / "test_openings.json").read_bytes() == openings


def test_preprocessing_outside_takes_normalised_images_and_temperature_divides_the_logits(
    run: Run, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "temperature_of", lambda run: 1.7)  # its validation set has no errors
    (path,), parity = convoy.export(run, tmp_path / "net", to="pt2", preprocessing="outside", temperature=True)
    assert parity is not None
    assert parity.agreeing == parity.images
    network, facts = reloaded(path, "pt2")
    assert facts["temperature"] == "1.7"
    expected = logits_of(run, images) / 1.7
    np.testing.assert_allclose(
        network(convoy.load(run).preprocess(images).numpy()), expected, atol=1e-5 * np.abs(expected).max()
    )
    assert facts["preprocessing"] == "outside"


def test_a_network_is_not_written_if_the_export_changes_its_outputs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    normaliser_of = graphs.normaliser_of
    monkeypatch.setattr(
        graphs, "normaliser_of", lambda data: normaliser_of(SimpleNamespace(mean=data.mean, std=[1.001 * data.std[0]]))
    )
    with pytest.raises(ValueError, match="differs from the trained one.*limit: 1e-05"):
        convoy.export(run, tmp_path / "net.pt2", to="pt2")
    assert not list(tmp_path.iterdir())


class Cancelling(torch.nn.Module):
    """Loses the last bits of its logits if `large` is large."""

    def __init__(self, width: int, large: float) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(width, 3)
        self.large = large

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.flatten(1)) + self.large - self.large


@pytest.mark.parametrize("large", [0.0, 300.0])
def test_a_difference_within_the_rounding_error_of_pytorch_is_accepted(run: Run, large: float) -> None:
    images = exporting.parity.images_of(run).pixels
    torch.manual_seed(0)
    network = Cancelling(images[0].size, large).eval()
    with torch.no_grad():
        expected = network(graphs.normaliser_of(run.data)(torch.from_numpy(images.copy()))).numpy()
    actual = expected + 2e-5 * np.abs(expected).max()
    if large:
        parity = exporting.parity.check(run, network, lambda x: actual, batch=1000)
        assert parity.difference == pytest.approx(2e-5, rel=0.1)
        assert parity.rounding is not None
        assert 4 * parity.rounding > parity.difference
    else:
        with pytest.raises(ValueError, match="differs"):
            exporting.parity.check(run, network, lambda x: actual, batch=1000)


def test_without_the_data_set_the_images_of_the_run_folder_are_compared(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting.parity, "prepare", lambda spec: (_ for _ in ()).throw(ValueError("no such file")))
    _, parity = convoy.export(run, tmp_path / "net.pt2", to="pt2")
    assert parity is not None
    assert (parity.part, parity.images) == ("train", len(run.gallery["samples_images"]))


def test_safetensors_file_contains_the_weights_and_the_metadata(run: Run, tmp_path: Path) -> None:
    (path,), _ = convoy.export(run, tmp_path / "net.safetensors", to="safetensors")
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        expected = convoy.load(run).network.state_dict()
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in expected.items())
    assert json.loads(facts["classes"]) == list(run.data.classes)
    assert (facts["model"], facts["in_chans"]) == ("two_conv_cnn", "1")


def unzipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    (inner,) = folder.iterdir()
    return inner


def alone(folder: Path, code: str, *blocked: str) -> Done:
    """Runs the code next to `import network`, where Convoy cannot be imported."""
    return run_code(folder, f"import numpy as np, network\n{code}", ["convoy", *blocked])


@pytest.mark.usefixtures("words_alone")
def test_bundle_predicts_without_convoy(run: Run, images: np.ndarray, tmp_path: Path) -> None:
    (path,), parity = convoy.export(run, tmp_path / "net.zip", to="bundle")
    assert parity is not None
    assert parity.difference == 0
    folder = unzipped(path, tmp_path / "unzipped")
    assert {file.name for file in folder.iterdir()} == {
        *("network.py", "weights.pth", "README.md", "report.html"),
        *("recipe.toml", "environment.json", "data.json", "scores.json"),
    }
    names = []
    for number, image in enumerate(images):
        names.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image[0]).resize((20, 30)).save(names[-1])
    np.save(tmp_path / "images.npy", images[:, 0])
    code = f"print(network.predict({names!r}), network.predict(np.load({str(tmp_path / 'images.npy')!r})), sep='\\n')"
    done = alone(folder, code)
    assert done.code == 0, done.err
    with zipfile.ZipFile(path) as archive:  # independent of the clock, which may be before 1980
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    of_files, of_arrays = map(eval, done.out.splitlines())
    expected = [(each.predicted, pytest.approx(each.confidence)) for each in convoy.predict(run, names)]
    assert of_files == expected
    logits = logits_of(run, images)
    assert [name for name, _ in of_arrays] == [run.data.classes[place] for place in logits.argmax(1)]

    done = alone(folder, f"network.predict(np.zeros((12, 12), np.uint8)); network.predict({names[0]!r})", "PIL")
    assert done.err.splitlines()[-1].startswith("ImportError: image files")

    program = f"import runpy, sys\nsys.argv[1:] = [{names[0]!r}]\nrunpy.run_path('network.py', run_name='__main__')"
    assert alone(folder, program).out.startswith(f"{names[0]}: {expected[0][0]} (")


@pytest.mark.usefixtures("words_alone")
def test_bundle_of_a_users_network_contains_its_files(
    tiny: Callable[..., Recipe], net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forked(command: list[str], **options: object) -> SimpleNamespace:
        *_, code, folder, threads = command
        done = run_code(Path(folder), f"import sys\nsys.argv[1:] = [{folder!r}, {threads!r}]\n{code}", ["convoy"])
        return SimpleNamespace(returncode=done.code, stderr=done.err)

    monkeypatch.setattr(bundle, "subprocess", SimpleNamespace(run=forked))
    net.with_name("parts.py").write_text("from torch import nn\n\nRelu = nn.ReLU\n")
    net.write_text(
        net.read_text().replace("nn.ReLU()", "Relu()").replace("from torch", "from parts import Relu\nfrom torch")
    )
    run = convoy.train(tiny(("train.epochs", 1), ("model.options", {"width": 6})), out=tmp_path / "out", show=False)
    (path,), parity = convoy.export(run, tmp_path / "net.zip", to="bundle")
    assert parity is not None
    assert parity.difference == 0
    folder = unzipped(path, tmp_path / "unzipped")
    assert (folder / "source" / "net.py").read_bytes() == net.read_bytes()
    assert str(tmp_path) in (run.path / "environment.json").read_text() + (run.path / "recipe.toml").read_text()
    assert not any(str(tmp_path) in path.read_text() for path in folder.glob("*.[!p]*") if path.is_file())
    assert "net.py" in (folder / "report.html").read_text()
    done = alone(folder, "print(network.build().head.in_features)")
    assert done.out == f"{6 * 6 * 6}\n", done.err

    (run.path / "code" / "net.py").write_text(net.read_text() + "\n")
    for to in ("bundle", "pt2"):
        with pytest.raises(ValueError, match="trust-code"):
            convoy.export(run, tmp_path / "other", to=to)


@pytest.mark.parametrize("to", sorted(SUFFIXES.values()))
def test_a_run_without_weights_is_one_error(
    run: Run, to: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: name)
    monkeypatch.setattr(Run, "is_archived", True)
    code, _, err = call("export", run.path, "--to", to, "file")
    assert (code, err.count("\n")) == (2, 1)
    assert "archived without weights" in err
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_an_error_that_says_what_to_install(
    run: Run, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else name)
    code, _, err = call("export", run.path, "--to", "onnx", "net.onnx")
    assert (code, err.count("\n")) == (2, 1)
    assert "'convoy-ml[onnx]'" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("to", "value"), [("pth", "inside"), ("pt2", "insde")])
def test_preprocessing_is_inside_or_outside_and_only_of_graphs(run: Run, to: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="preprocessing"):
        convoy.export(run, tmp_path / "file", to=to, preprocessing=value)


@pytest.mark.parametrize("outputs", [None, np.eye(3, dtype=np.float32), np.full((30, 3), 1 / 3, np.float32)])
def test_a_run_without_a_temperature_is_an_error(outputs: np.ndarray | None, tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    labels = {} if outputs is None else {"validation_labels": np.arange(len(outputs)) % 3, "validation_logits": outputs}
    write_arrays(run.path / "predictions.npz", labels)
    with pytest.raises(ValueError, match="--temperature"):
        graphs.temperature_of(run)


def test_command_prints_the_comparison(run: Run, call: Call) -> None:
    code, out, err = call("export", run.path, "--to", "pt2", "net.pt2", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["files"] == ["net.pt2"]
    assert result["parity"]["images"] == run.data.counts["validation"]
    code, out, err = call("export", run.path, "--to", "pt2", "net.pt2", "--overwrite")
    assert out.splitlines()[-1] == "net.pt2"
    assert len(out.splitlines()) == 2


def test_bundle_of_digits_reads_photographs_as_predict_does(tmp_path: Path) -> None:
    run = random_run(tmp_path / "run", "lenet", mnist("train")[0][:64])
    write_json(run.path / "data.json", {**asdict(run.data), "name": "mnist"})
    (folder := tmp_path / "bundle").mkdir()
    (folder / "network.py").write_text(network_py(run, exporting.Settings()))
    draw = np.random.default_rng(0)
    photograph(3, draw).save(tmp_path / "a.png")
    photograph(4, draw, 7).save(tmp_path / "b.png")
    expected = convoy.load(run).preprocess(tmp_path / "a.png")
    code = f"x = network.preprocess([{str(tmp_path / 'a.png')!r}, {str(tmp_path / 'b.png')!r}])\nprint(x[0].tolist())"
    done = alone(folder, code, "scipy")
    assert ", found 2" in done.err
    assert eval(done.out) == expected[0].tolist()


def test_bundle_of_digits_predicts_arrays_without_pillow(tmp_path: Path) -> None:
    digits = mnist("train")[0][:64]
    run = random_run(tmp_path / "run", "lenet", digits)
    write_json(run.path / "data.json", {**asdict(run.data), "name": "mnist"})
    (folder := tmp_path / "bundle").mkdir()
    (folder / "network.py").write_text(network_py(run, exporting.Settings()))
    np.save(folder / "digits.npy", images := np.ascontiguousarray(digits[:5, 0]))
    done = alone(folder, f"print(network.preprocess(np.load({str(folder / 'digits.npy')!r})).tolist())", "PIL")
    assert eval(done.out) == convoy.load(run).preprocess(images).tolist()


@pytest.mark.parametrize(
    ("body", "suffix", "expected"),
    [
        pytest.param("torch.linalg.svd(x)[0]", "onnx", "aten._linalg_svd.default", marks=GRAPHS[0].marks),  # type: ignore[union-attr]
        ("x if x.mean().item() > 0 else 2 * x", "pt2", "data-dependent"),
    ],
)
def test_a_layer_that_cannot_be_exported_is_named_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], body: str, suffix: str, expected: str
) -> None:
    code = (
        "import torch\nfrom torch import nn\n\n\nclass Odd(nn.Module):\n    def forward(self, x):\n"
        f"        return {body}\n\n\nclass Net(nn.Module):\n    def __init__(self, in_chans, num_classes):\n"
        "        super().__init__()\n        self.body = nn.Sequential(Odd())\n"
        "        self.head = nn.Linear(784, num_classes)\n\n    def forward(self, x):\n"
        "        return self.head(self.body(x).flatten(1))\n"
    )
    (tmp_path / "net.py").write_text(code)
    options = {"epochs": 1, "limit": 40, "out": tmp_path / "out", "show": False}
    odd = convoy.train(f"{tmp_path}/net.py:Net", data="mnist", **options)
    capfd.readouterr()

    with pytest.raises(ValueError, match=r"in layer body\.0\b") as caught:
        convoy.export(odd, tmp_path / f"net.{suffix}", trust_code=True)

    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
