"""Reads runs, traces their networks and collects the content of a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from convoy.checkpoint import load_into
from convoy.data import prepare
from convoy.evaluation.held_out import PARTS, scored_images
from convoy.evaluation.load import network_of
from convoy.evaluation.loaded import normaliser_of, reads_photographs
from convoy.evaluation.predict import evaluating, predict
from convoy.evaluation.scores import probabilities
from convoy.exploring import sample
from convoy.exploring.content import Epoch, Features, Images, PageContent, RunContent
from convoy.exploring.graph import Graph, UnsupportedError
from convoy.exploring.onnx_graph import OnnxModel, read_model
from convoy.exploring.onnx_runtime import OnnxRuntime
from convoy.exploring.trace import trace
from convoy.exporting import graphs
from convoy.exporting.content import Settings
from convoy.run_contents import RunData, part_name
from convoy.runs import Member, Run
from convoy.text import gettext as _

MAX_EPOCHS = 40  # epochs whose weights the page contains; if there are more, evenly spaced ones
MAX_EPOCH_WEIGHTS = 1_500_000  # maximum number of weights over all epochs of a run: 6 MB


class Sample(NamedTuple):
    scored: Images
    training: Images
    places: np.ndarray  # indices of the scored images in their part


def collect(
    members: Sequence[Member],
    *,
    effect: Callable[[], str] | None = None,
    runtime: OnnxRuntime | None = None,
    trust_code: bool = False,
) -> PageContent:
    """Collects the content of the page of these runs, with their labels. Raises ValueError, UnsupportedError.

    With a `runtime`, the page runs ONNX models, otherwise its own operations.
    """
    data = members[0].run.data
    part = _common_part([member.run for member in members])
    images = _images([member.run for member in members], part)
    return PageContent(
        data=data,
        part=part,
        is_handwriting=reads_photographs(data),
        scored=images.scored,
        training=images.training,
        runs=tuple(_run_content(member, part, images, trust_code, is_onnx=runtime is not None) for member in members),
        effect=effect,
        runtime=runtime,
    )


def _common_part(runs: Sequence[Run]) -> str:
    """Returns the part on which all runs were scored. Raises ValueError if the images differ."""
    first, *others = runs
    parts = [part for part in PARTS if all(part in run.scores for run in runs)]
    if not parts:
        raise ValueError(
            _("{other}: expected a finished run with a score on test or validation images", other=first.path)
        )
    for run in others:
        for key in ("classes", "in_chans", "image_size", "data_hash"):
            if getattr(run.data, key) != getattr(first.data, key):
                raise ValueError(
                    _(
                        "{path} and {other} differ in {key}: expected runs on the same images",
                        path=run.path,
                        other=first.path,
                        key=key,
                    )
                )
        if run.data.parts_hash.get(parts[0]) != first.data.parts_hash.get(parts[0]):
            raise ValueError(
                _(
                    "{path} was scored on different {part_name} images than {other}",
                    path=run.path,
                    part_name=part_name(parts[0]),
                    other=first.path,
                )
            )
    return parts[0]


def _images(runs: Sequence[Run], part: str) -> Sample:
    run = runs[0]
    try:
        prepared = prepare(run.recipe.data)
    except (ValueError, OSError):  # the data are not on this machine: use the images of the report
        gallery = run.gallery
        images, labels, places = (gallery[f"predictions_{key}"] for key in ("images", "labels", "index"))
        return Sample(Images(images, labels), Images(gallery["samples_images"], gallery["samples_labels"]), places)
    images_of_part = scored_images(prepared, part)
    assert images_of_part is not None
    predicted = [each.predicted(part)[1] for each in runs]
    count = min(len(images_of_part), *(len(classes) for classes in predicted))  # a fault drops the last images
    labels = images_of_part.labels[:count]
    logits = run.predictions.get(f"{part}_logits")
    confidences = np.zeros(count) if logits is None else np.nan_to_num(probabilities(logits[:count])).max(axis=1)
    number = sample.count_within(sample.SCORED_IMAGES, sample.SCORED_BYTES, images_of_part.images[0])
    places = np.array(sample.scored_images(labels, [classes[:count] for classes in predicted], confidences, number))
    train = prepared.train
    number = sample.count_within(sample.TRAINING_IMAGES, sample.TRAINING_BYTES, train.images[0])
    training = np.array(sample.by_class(train.labels, np.arange(len(train)), number))
    return Sample(
        Images(images_of_part.images[places], labels[places]),
        Images(train.images[training], train.labels[training]),
        places,
    )


def _run_content(member: Member, part: str, images: Sample, trust_code: bool, *, is_onnx: bool) -> RunContent:
    run = member.run
    data, score = run.data, run.scores[part]
    network = network_of(run, trust_code=trust_code)
    shape = (data.in_chans, data.image_size, data.image_size)
    try:
        model, graph = _onnx(run, network, trust_code) if is_onnx else (None, trace(network, shape))
    except UnsupportedError as error:
        raise UnsupportedError(f"{run.path}: {error}") from None
    normalise = normaliser_of(data)
    return RunContent(
        label=member.label,
        name=run.name,
        correct=score.correct,
        images=score.n,
        flags=lambda: run.flags,
        mean=tuple(data.mean),
        std=tuple(data.std),
        graph=graph,
        confusion=score.confusion,
        predicted=run.predicted(part)[1][images.places],
        logits=predict(network, images.scored.pixels, normalise),
        features=_features(network, graph, images.training, data),
        epochs=() if is_onnx else _epochs(run, network, graph, shape),
        model=model,
    )


def _onnx(run: Run, network: nn.Module, trust_code: bool) -> tuple[OnnxModel, Graph]:
    (content,) = graphs.onnx(run, Settings(preprocessing="outside", keep_norms=True, trust_code=trust_code)).files
    return read_model(content, sum(parameter.numel() for parameter in network.parameters()))


def _features(network: nn.Module, graph: Graph, training: Images, data: RunData) -> Features | None:
    """Returns the input of the last linear layer; None for a network without linear layers."""
    places = [place for place, each in enumerate(graph.operations) if each.name == "linear" and each.kind == "Linear"]
    if not places:
        return None
    operation = graph.operations[places[-1]]
    seen: list[torch.Tensor] = []
    layer = network.get_submodule(operation.layer)
    handle = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].flatten(1)))
    try:
        predict(network, training.pixels, normaliser_of(data))
    finally:
        handle.remove()
    features = torch.cat(seen).float().numpy()
    largest = np.maximum(np.abs(features).max(axis=1, keepdims=True), 1e-12)
    return Features(operation.inputs[0], np.rint(127 * features / largest).astype(np.int8))


def _epochs(run: Run, network: nn.Module, graph: Graph, shape: tuple[int, int, int]) -> tuple[Epoch, ...]:
    """Returns the weights saved by `probe.keep_weights`; empty if there are none."""
    files = sorted((run.path / "weights").glob("epoch-*.safetensors"))
    most = min(MAX_EPOCHS, MAX_EPOCH_WEIGHTS // max(1, sum(array.size for array in graph.weights)))
    if len(files) < 2 or most < 2:
        return ()
    if len(files) > most:
        files = [files[place] for place in np.unique(np.linspace(0, len(files) - 1, most).round().astype(int))]
    accuracies = {line.epoch: line.validation.accuracy for line in run.metrics if line.validation}
    epochs = []
    with evaluating(network):
        for file in files:
            load_into(network, file)
            number = int(file.stem.rpartition("-")[2])
            epochs.append(Epoch(number, trace(network, shape).weights, accuracies.get(number)))
    return tuple(epochs)
