"""The content of a page and its JSON. Does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from convoy.exploring.arrays import Arrays
from convoy.exploring.graph import Graph
from convoy.exploring.onnx_graph import OnnxModel
from convoy.exploring.onnx_runtime import OnnxRuntime
from convoy.run_contents import RunData
from convoy.text import is_language_chosen


@dataclass(frozen=True)
class Epoch:
    """The weights at the end of an epoch."""

    epoch: int  # 0: the initial weights
    weights: tuple[np.ndarray, ...]  # in the order of Graph.weights
    accuracy: float | None  # validation accuracy; None if it was not measured


@dataclass(frozen=True)
class Features:
    """The input of the last linear layer for the training sample, each image scaled to length 1."""

    value: int  # number of the value in the graph
    quantised: np.ndarray  # int8 [N, F]: 127 is the largest feature of the image


@dataclass(frozen=True)
class RunContent:
    label: str  # in English; `label_text` translates it
    name: str  # name of the run
    correct: int  # number of correctly classified images of all scored ones
    images: int
    flags: Callable[[], Sequence[str]]  # in the current language
    mean: tuple[float, ...]  # mean of the normalisation
    std: tuple[float, ...]
    graph: Graph
    confusion: Sequence[Sequence[int]]  # rows: true classes; empty if the run has no scored part
    predicted: np.ndarray  # int64 [N], of the scored images, as stored by the run; -1: not finite
    logits: np.ndarray  # float32 [N, classes], of the scored images, by PyTorch
    features: Features | None
    epochs: tuple[Epoch, ...]
    model: OnnxModel | None = None  # for the engine onnx, where `graph` has no weights


@dataclass(frozen=True)
class Images:
    pixels: np.ndarray  # uint8 [N, C, H, H]
    labels: np.ndarray  # int64 [N]


@dataclass(frozen=True)
class PageContent:
    data: RunData
    part: str  # "test", "validation", ...: the part of the scored images
    is_handwriting: bool  # drawings and photographs are converted as in MNIST
    scored: Images
    training: Images
    runs: tuple[RunContent, ...]
    effect: Callable[[], str] | None  # the measured difference of the runs, in the current language; None for one run
    runtime: OnnxRuntime | None = None  # with the engine onnx


def page_table(content: PageContent, arrays: Arrays, words: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """Returns the JSON of the page. Arrays are stored as indices into `arrays`. `words`: the text by language."""
    return {
        "classes": list(content.data.classes),
        "channels": content.data.in_chans,
        "size": content.data.image_size,
        "isHandwriting": content.is_handwriting,
        "scored": _images_table(content.scored, arrays),
        "training": _images_table(content.training, arrays),
        "runs": [_run_table(run, arrays) | {"label": f"label_{index}"} for index, run in enumerate(content.runs)],
        "runtime": content.runtime and [_bytes(content.runtime.module, arrays), _bytes(content.runtime.wasm, arrays)],
        "words": words,
        "isLanguageChosen": is_language_chosen(),  # otherwise the page opens in the language of the browser
        "arrays": arrays.table,
    }


def _images_table(images: Images, arrays: Arrays) -> dict[str, object]:
    return {"pixels": arrays.add(images.pixels), "labels": images.labels.tolist()}


def _bytes(content: bytes, arrays: Arrays) -> int:
    return arrays.add(np.frombuffer(content, np.uint8))


def _run_table(run: RunContent, arrays: Arrays) -> dict[str, object]:
    features = run.features
    return {
        "name": run.name,
        "mean": run.mean,
        "std": run.std,
        "parameters": run.graph.parameters,
        "graph": {"operations": [asdict(operation) for operation in run.graph.operations]},
        "weights": [arrays.add(array) for array in run.graph.weights],
        "model": run.model and {"content": _bytes(run.model.content, arrays), "values": run.model.values},
        "confusion": run.confusion,
        "predicted": run.predicted.tolist(),
        "logits": arrays.add(run.logits),
        "features": features and {"value": features.value, "quantised": arrays.add(features.quantised)},
        "epochs": [
            {"epoch": each.epoch, "accuracy": each.accuracy, "weights": [arrays.add(array) for array in each.weights]}
            for each in run.epochs
        ],
    }
