"""Models of the Hugging Face Hub: pushed to a local server, downloaded and used."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants
from tests.conftest import NET, Call
from tests.fake_runs import fake_run
from tests.forks import run_code
from tests.hub_server import READ, WRITE, Hub, hub_server

import convoy
from convoy.checkpoint import load_weights
from convoy.runs import Run
from convoy.stats import wilson


@pytest.fixture(scope="module")
def trained(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    out = tmp_path_factory.mktemp("runs")
    (out / "net.py").write_text(NET)

    def train(model: str) -> Run:
        settings = {"compute.threads": 1, "train.batch_size": 20, "optim.lr": 0.003}
        options = {"data": str(stripes), "epochs": 2, "limit": 200, "out": out, "show": False, "set": settings}
        return convoy.train(str(out / model) if model.endswith(".py") else model, **options)  # type: ignore[arg-type]

    return train


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        address = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", server.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", WRITE)
        yield server


@pytest.mark.usefixtures("words_alone")
def test_a_pushed_run_is_loaded_with_the_same_logits_and_scores(
    hub: Hub, trained: Callable[[str], Run], tmp_path: Path
) -> None:
    run = trained("two_conv_cnn")

    address = convoy.push(run, "ada/stripes")
    loaded = convoy.load("hf:ada/stripes")

    assert address == f"{hub.address}/ada/stripes"
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 12), dtype=np.uint8)
    original = convoy.load(run)
    with torch.no_grad():
        assert torch.equal(loaded(loaded.preprocess(images)), original(original.preprocess(images)))
    assert loaded.classes == original.classes
    (path,), _ = convoy.export("hf:ada/stripes", tmp_path / "net.pth", to="pth")
    assert path.is_file()
    with pytest.raises(ValueError, match="no images here to compare the export with"):
        convoy.export("hf:ada/stripes", tmp_path / "net.pt2", to="pt2")
    page = convoy.report("hf:ada/stripes").with_suffix(".md").read_text()
    assert f"{run.scores['test'].correct:,} of {run.scores['test'].n:,}" in page


def test_the_model_card_has_the_scores_and_a_license_only_if_given(hub: Hub, trained: Callable[[str], Run]) -> None:
    run = trained("two_conv_cnn")
    convoy.push(run, "ada/card", license="mit")
    convoy.push(run, "ada/plain")

    card = ModelCard(hub.repositories["ada/card"]["README.md"].decode())

    scores = {result.dataset_split: result.metric_value for result in card.data.eval_results}
    assert scores == {part: score.accuracy for part, score in run.scores.items()}
    assert card.data.license == "mit"
    assert ModelCard(hub.repositories["ada/plain"]["README.md"].decode()).data.license is None
    low, high = (f"{100 * end:.2f}" for end in wilson(run.scores["test"].correct, run.scores["test"].n).span)
    for text in (low, high, "at most 200 training", 'convoy.load("hf:ada/card")', 'name = "two_conv_cnn"'):
        assert text in card.text
    assert "figures/" not in card.text
    config = json.loads(hub.repositories["ada/card"]["config.json"])
    assert (config["classes"], config["image_size"]) == (list(run.data.classes), 12)


def test_files_contain_no_local_paths(hub: Hub, trained: Callable[[str], Run], stripes: Path, tmp_path: Path) -> None:
    for model in ("two_conv_cnn", "net.py"):
        run = trained(model)
        folder = Path(convoy.push(run, "ada/x", save=tmp_path / model))
        files = [path for path in folder.rglob("*.*") if path.is_file()]
        assert files
        for path in files:
            assert os.fsencode(stripes.parent) not in path.read_bytes(), path
            assert os.fsencode(run.path.parents[1]) not in path.read_bytes(), path
    assert hub.repositories == {}


def test_a_network_of_the_users_own_is_pushed_with_its_code_which_is_trusted_on_request(
    hub: Hub, trained: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    convoy.push(trained("net.py"), "ada/own")
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "another machine"))

    with pytest.raises(ValueError, match="code from elsewhere"):
        convoy.load("hf:ada/own")
    assert type(convoy.load("hf:ada/own", trust_code=True).network).__name__ == "Tiny"


def test_a_new_push_replaces_the_run_and_is_downloaded_again(hub: Hub, trained: Callable[[str], Run]) -> None:
    convoy.push(trained("net.py"), "ada/model")
    first = convoy.load("hf:ada/model", trust_code=True)
    hub.repositories["ada/model"] |= {"LICENSE": b"MIT", "arrays.npz": b"of an earlier run"}

    convoy.push(trained("two_conv_cnn"), "ada/model")

    assert type(convoy.load("hf:ada/model").network) is not type(first.network)
    files = hub.repositories["ada/model"].keys()
    assert {"LICENSE", "model.safetensors"} < files
    assert files.isdisjoint({"code/net.py", "arrays.npz"})


def test_changed_weights_are_an_error(hub: Hub, trained: Callable[[str], Run]) -> None:
    run = trained("two_conv_cnn")
    convoy.push(run, "ada/model")
    hub.repositories["ada/model"]["model.safetensors"] += b" "
    with pytest.raises(ValueError, match="has changed since the run wrote it"):
        convoy.load("hf:ada/model")


def test_init_takes_weights_of_the_hub_with_and_without_a_run(
    hub: Hub, trained: Callable[[str], Run], stripes: Path, tmp_path: Path
) -> None:
    run = trained("two_conv_cnn")
    convoy.push(run, "ada/model")
    hub.repositories["ada/weights"] = {"model.safetensors": hub.repositories["ada/model"]["model.safetensors"]}
    for name in ("ada/model", "ada/weights"):
        options = {"data": str(stripes), "epochs": 1, "limit": 100, "out": tmp_path / name, "show": False}
        settings = {"compute.threads": 1, "probe.keep_weights": True}
        tuned = convoy.train("two_conv_cnn", init=f"hf:{name}", set=settings, **options)  # type: ignore[arg-type]
        initial = load_weights(next(path for path in sorted((tuned.path / "weights").iterdir())))
        best = load_weights(run.path / "best.safetensors")
        assert all(torch.equal(initial[key], best[key]) for key in best)
    with pytest.raises(ValueError, match=r"found only weights; --init can use them"):
        convoy.load("hf:ada/weights")


@pytest.mark.parametrize(
    ("token", "arguments", "message"),
    [
        (None, ["push", "RUN", "ada/x"], "not logged in.*hf auth login.*HF_TOKEN"),
        (READ, ["push", "RUN", "ada/x"], "no write access"),
        (WRITE, ["push", "RUN", "x"], "expected owner/name.*got 'x'"),
        (WRITE, ["push", "RUN", "https://hub/ada/x"], "expected owner/name"),
        (WRITE, ["push", "UNFINISHED", "ada/x"], "only finished runs"),
        (WRITE, ["push", "RUN", "ada/x", "--save", "."], "already exists"),
        (None, ["report", "hf:ada/x"], "no such model, or a private one"),
        (None, ["report", "hf:ada/secret"], "no such model, or a private one"),
        (None, ["report", "hf:ada/empty"], r"expected a model with model.safetensors"),
        (None, ["train", "lenet", "--init", "hf:ada/x"], "no such model"),
        (None, ["report", "hf:x"], "expected owner/name"),
    ],
)
def test_errors_are_one_line(
    hub: Hub,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    trained: Callable[[str], Run],
    tmp_path: Path,
    token: str | None,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    hub.repositories |= {"ada/secret": {}, "ada/empty": {"README.md": b"empty"}}
    hub.private.add("ada/secret")
    unfinished = fake_run(tmp_path / "fake")
    (unfinished.path / "best.safetensors").write_bytes((trained("two_conv_cnn").path / "best.safetensors").read_bytes())
    unfinished.write_status(state="interrupted")
    paths = {"RUN": trained("two_conv_cnn").path, "UNFINISHED": unfinished.path}

    code, _, err = call(*(paths.get(argument, argument) for argument in arguments))

    assert (code, err.count("\n")) == (2, 1), err
    assert re.search(message, err), err
    assert "ada/x" not in hub.repositories


def test_an_unreachable_hub_is_one_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="hf:ada/x: the Hub cannot be reached: ") as error:
        convoy.load("hf:ada/x")
    assert "\n" not in str(error.value)


def test_the_command_pushes_privately_to_the_endpoint_of_the_environment(
    hub: Hub, trained: Callable[[str], Run], tmp_path: Path
) -> None:
    environment = {"HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path), "HF_TOKEN": WRITE}
    command = ["push", str(trained("two_conv_cnn").path), "ada/new", "--private"]
    code = f"import os\nos.environ |= {environment}\nfrom convoy.cli import main\nmain({command})"
    assert run_code(tmp_path, code, []) == (0, f"{hub.address}/ada/new\n", "")
    assert hub.private == {"ada/new"}
