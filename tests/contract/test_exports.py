"""Every model can be exported: as ONNX, and as one file of plain PyTorch."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.contract.test_models import by_size
from tests.fake_runs import mnist
from tests.random_runs import random_run

import convoy
from convoy.exporting import Settings
from convoy.exporting.bundle import network_py
from convoy.models import MODELS

ONE_OF_A_KIND: dict[str, dict[str, object]] = {  # small networks that together have all operations
    "vit_tiny": {"depth": 1},
    "squeezenet1_1": {"norm": "group"},
    "res_attention_cnn_published": {},
}


@pytest.mark.parametrize("name", {MODELS[name].defined_in: name for name in by_size}.values())  # the smallest of each
def test_one_file_of_plain_pytorch_builds_the_same_network(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = random_run(tmp_path / "run", name, mnist("train")[0][:8])
    source = network_py(run, Settings())
    assert not re.search(r"^\s*(from|import) convoy", source, re.MULTILINE)
    (tmp_path / "network_alone.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "network_alone", raising=False)
    alone, model = import_module("network_alone"), convoy.load(run)
    network = alone.build()
    network.load_state_dict(model.network.state_dict())
    images = mnist("train")[0][:2]
    x = alone.preprocess(images)
    assert torch.equal(x, model.preprocess(images))
    with torch.no_grad():
        assert torch.equal(network.eval()(x), model(x))


@pytest.mark.skipif(not (find_spec("onnxruntime") and find_spec("onnxscript")), reason="needs the extra onnx")
@pytest.mark.usefixtures("one_registry")
@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_onnx_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    images = np.repeat(mnist("train")[0][:20], 3, axis=1)
    run = random_run(tmp_path / "run", name, images, options=ONE_OF_A_KIND[name])
    _, parity = convoy.export(run, tmp_path / "net.onnx", to="onnx")
    assert parity is not None
    assert parity.difference <= 1e-5
    assert parity.images == 20
