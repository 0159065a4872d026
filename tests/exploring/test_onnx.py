"""`--engine onnx`: values of an ONNX model, files of onnxruntime-web and, if it is installed, the page in a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tests.exploring.browser import Browser
from torch import nn
from torch.export import Dim

import convoy
from convoy.evaluation.load import network_of
from convoy.exploring.onnx_graph import read_model
from convoy.exploring.onnx_runtime import DEFAULT_FOLDER, MODULE, WASM, read_runtime
from convoy.exporting import graphs
from convoy.exporting.content import Settings
from convoy.runs import Run

ORT = Path(__file__).parents[2] / DEFAULT_FOLDER  # of `npm install onnxruntime-web` in the checkout


@pytest.mark.usefixtures("one_registry")
def test_the_values_of_all_operations_are_outputs_of_the_model(digits_run: Run) -> None:
    network = network_of(digits_run)
    model, graph = read_model(graphs.onnx(digits_run, Settings(preprocessing="outside")).files[0], 44_426)
    image = np.random.default_rng(0).normal(size=(1, 1, 28, 28)).astype(np.float32)
    values = onnxruntime.InferenceSession(model.content).run(list(model.values), {"images": image})
    with torch.no_grad():
        first = network.get_submodule(graph.operations[0].layer)(torch.from_numpy(image)).numpy()
        logits = network(torch.from_numpy(image)).numpy()

    assert [operation.name for operation in graph.operations[:3]] == ["conv", "max_pool", "relu"]
    assert [operation.inputs for operation in graph.operations[:3]] == [(0,), (1,), (2,)]
    assert [value.shape for value in values] == [operation.shape for operation in graph.operations]
    assert values[0] == pytest.approx(first, abs=1e-5)
    assert values[-1] == pytest.approx(logits, abs=1e-5)
    assert sum(np.prod(operation.settings.get("weight", 0)) for operation in graph.operations) == 44_426 - 236  # biases


@pytest.mark.usefixtures("one_registry")
def test_a_batch_norm_is_an_operation_with_its_numbers() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    network[1].running_mean.fill_(0.5)
    program = torch.export.export(network.eval(), (torch.zeros(2, 1, 4, 4),), dynamic_shapes=({0: Dim("batch")},))
    _, graph = read_model(graphs.onnx_bytes(program, {}, keep_norms=True), 0)

    assert [operation.name for operation in graph.operations] == ["conv", "batch_norm", "relu", "linear"]
    norm = graph.operations[1]
    assert (norm.layer, norm.settings["eps"]) == ("1", pytest.approx(1e-5))
    assert graph.weights[norm.weights["mean"]].tolist() == [0.5, 0.5]
    assert not graph.operations[0].settings["bias"]


def test_error_names_missing_files_of_onnxruntime_web(digits_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=MODULE):
        convoy.explore(digits_run, engine="onnx", ort=tmp_path)
    with pytest.raises(ValueError, match="--engine onnx"):
        convoy.explore(digits_run, ort=tmp_path)
    with pytest.raises(ValueError, match="unknown engine"):
        convoy.explore(digits_run, engine="onx")


def test_the_module_of_the_runtime_loads_no_other_file(tmp_path: Path) -> None:
    (tmp_path / MODULE).write_text("export default 1;\n//# sourceMappingURL=ort.map\n", encoding="utf-8")
    (tmp_path / WASM).write_bytes(b"\0asm")

    assert b"ort.map" not in read_runtime(tmp_path).module


@pytest.mark.skipif(not ORT.is_dir(), reason="onnxruntime-web is not installed in the checkout")
def test_outputs_in_a_browser_agree_with_pytorch(browser: Browser, digits_run: Run, tmp_path: Path) -> None:
    page = convoy.explore(digits_run, engine="onnx", ort=ORT, save=tmp_path / "page.html")
    browser.open(page)

    assert page.stat().st_size < 5.5e6 + 1.4 * 4 * 44_426
    assert browser.evaluate("convoy.largestDifference(20)") < 1e-4
    first_layer = browser.evaluate("[...convoy.store.values[1].data]")
    assert len(first_layer) == 6 * 24 * 24
