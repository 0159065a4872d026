"""Explains the network of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from convoy.data import ImageSet, PreparedData, prepare
from convoy.data.batches import Normaliser
from convoy.evaluation import losses
from convoy.evaluation.held_out import PARTS, scored_images
from convoy.evaluation.load import network_of
from convoy.evaluation.loaded import normaliser_of, read_for
from convoy.evaluation.predict import predict
from convoy.evaluation.scores import probabilities
from convoy.explaining import sample
from convoy.explaining.attribution import grad_cam, integrated_gradients
from convoy.explaining.embedding import Embedding, embed
from convoy.explaining.layers import Layer, Passes, cam_layer, gradient_norms, layers_of, outputs_of, passes
from convoy.explaining.result import Arrays, Attribution, Confusion, ExplainedImage, Explanation, MapSummary
from convoy.registry import unknown
from convoy.runs import Run
from convoy.text import gettext as _

MAX_POINTS = 2000
MAX_STEPS = 1000  # the points of the integral are eigenvalues of a matrix of this size
MAP_IMAGES = 3  # images whose feature maps are shown
GRADIENT_IMAGES = 128


@dataclass(frozen=True)
class Settings:
    images: Sequence[str | Path]  # files and folders; empty: images of the part
    samples: int
    layers: Sequence[str]  # names; empty: three convolutions
    points: int
    steps: int
    seed: int
    raw: bool = False
    trust_code: bool = False

    def __post_init__(self) -> None:
        for name in ("samples", "points", "steps"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(_("{name} = {value}: expected at least 1", name=name, value=value))
        for name, limit in {"points": MAX_POINTS, "steps": MAX_STEPS}.items():
            if (value := getattr(self, name)) > limit:
                raise ValueError(_("{name} = {value}: expected at most {limit:,}", name=name, value=value, limit=limit))


class _Scored(NamedTuple):
    """The N images of the part on which the run was scored, with its stored predictions."""

    part: str
    images: np.ndarray  # uint8 [N, C, H, H]
    labels: np.ndarray  # int64 [N]
    predicted: np.ndarray  # int64 [N]; -1: no class
    confidence: np.ndarray  # float64 [N]


@dataclass(frozen=True)
class _Trained:
    network: nn.Module
    normaliser: Normaliser
    classes: Sequence[str]


class _Explained(NamedTuple):
    examples: tuple[ExplainedImage, ...]
    image_of: np.ndarray  # int64 [A]
    attributions: np.ndarray  # float32 [A, C, H, H]
    cams: np.ndarray  # float32 [A, h, w]


def explain_run(run: Run, settings: Settings) -> tuple[Explanation, Arrays]:
    """Explains a finished run with its best weights, on scored images or on image files.

    Raises ValueError for a run without scores or weights, if its data are not available or have changed, for unknown
    layers, unreadable images, and outputs that are not finite.
    """
    part = _scored_part(run)
    files, read, _inks = read_for(run.data, settings.images, raw=settings.raw) if settings.images else ([], None, [])
    network = network_of(run, trust_code=settings.trust_code)
    layers = layers_of(network, (run.data.in_chans, run.data.image_size, run.data.image_size))
    map_layers = _map_layers(layers, settings.layers)
    prepared = _prepared(run)
    scored = _scored(run, part, prepared)
    trained = _Trained(network, normaliser_of(run.data), tuple(run.data.classes))
    random = np.random.default_rng(settings.seed)

    chosen = sample.examples(scored.labels, scored.predicted, scored.confidence, settings.samples)
    pixels = scored.images[chosen] if read is None else read
    labels = scored.labels[chosen] if read is None else None
    sources = [str(path) for path in files] or chosen
    last_map = cam_layer(layers)
    explained = _explain(trained, pixels, labels, sources, last_map, settings.steps)
    maps_of = _images_of_maps(explained.examples)
    norms = _gradients(run, prepared.train, trained, random)
    points = np.sort(random.permutation(len(scored.labels))[: settings.points])
    outputs = passes(network, scored.images[points], trained.normaliser, norms)
    _check_finite(run, outputs.logits)
    embedding = embed(outputs.features, settings.seed)
    pairs = sample.confused_pairs(scored.labels, scored.predicted, scored.confidence, trained.classes)
    predicted = scored.predicted[points]
    mistakes = int((predicted != scored.labels[points]).sum())
    first = next((layer for layer in layers if layer.role == "conv"), None)
    explanation = Explanation(
        label=run.label,
        run=run.name,
        data=run.data.name,
        part=part,
        classes=tuple(trained.classes),
        flags=tuple(run.flags),
        correct=int((scored.predicted == scored.labels).sum()),
        images_of_part=len(scored.labels),
        seed=settings.seed,
        steps=settings.steps,
        cam_layer=last_map.label if last_map else None,
        cam_is_early=last_map is not None and last_map == first,
        map_layers=tuple(layer.label for layer in map_layers),
        examples=explained.examples,
        images=len(points),
        gradient_images=min(GRADIENT_IMAGES, len(prepared.train)),
        layers=tuple(outputs.statistics),
        map=_map_facts(embedding, outputs, mistakes) if embedding else None,
        confused=tuple(Confusion(trained.classes[p.true], trained.classes[p.predicted], p.images, p.of) for p in pairs),
    )
    arrays = Arrays(
        images=pixels,
        image_of=explained.image_of,
        attributions=explained.attributions,
        cams=explained.cams,
        maps_of=np.array(maps_of),
        maps=_maps(trained, pixels[maps_of], map_layers),
        filters=run.arrays.get("first_layer_filters"),
        index=points,
        labels=scored.labels[points],
        predicted=predicted,
        components=embedding.components if embedding else np.empty((0, 2), np.float32),
        tsne=embedding.tsne if embedding else np.empty((0, 2), np.float32),
        confused_images=tuple(scored.images[pair.shown] for pair in pairs),
        confused_confidence=tuple(scored.confidence[pair.shown] for pair in pairs),
    )
    return explanation, arrays


def _scored_part(run: Run) -> str:
    part = next((part for part in PARTS if run.finished and part in run.scores), "")
    if not part:
        raise ValueError(_("{path}: expected a finished run with a score on test or validation images", path=run.path))
    return part


def _prepared(run: Run) -> PreparedData:
    try:
        prepared = prepare(run.recipe.data)
    except (ValueError, OSError) as error:
        raise ValueError(_("the images of {path} cannot be read: {error}", path=run.path, error=error)) from None
    if (prepared.data_hash, prepared.split_hash) != (run.data.data_hash, run.data.split_hash):
        raise ValueError(
            _("{name} has changed since {path} was trained on it", name=run.recipe.data.name, path=run.path)
        )
    return prepared


def _scored(run: Run, part: str, prepared: PreparedData) -> _Scored:
    images, (labels, predicted) = scored_images(prepared, part), run.predicted(part)
    assert images is not None
    count = len(labels)  # a fault drops the last images
    logits = run.predictions.get(f"{part}_logits")
    confidences = np.zeros(count) if logits is None else np.nan_to_num(probabilities(logits)).max(axis=1)
    return _Scored(part, images.images[:count], labels, predicted, confidences)


def _map_layers(layers: Sequence[Layer], names: Sequence[str]) -> list[Layer]:
    """Returns the first call of each named layer; by default, the first, the middle and the last convolution."""
    with_maps = {layer.place.name: layer for layer in reversed(layers) if layer.has_maps and layer.place.name}
    for name in names:
        if name not in with_maps:
            raise unknown(_("layer"), name, reversed(with_maps), _("the layers with feature maps"))
    if names:
        return [with_maps[name] for name in dict.fromkeys(names)]
    convolutions = [layer for layer in layers if layer.role == "conv" and layer.has_maps]
    places = sorted({0, len(convolutions) // 2, len(convolutions) - 1}) if convolutions else []
    return [convolutions[place] for place in places]


def _explain(
    trained: _Trained,
    pixels: np.ndarray,
    labels: np.ndarray | None,
    sources: Sequence[str | int],
    layer: Layer | None,
    steps: int,
) -> _Explained:
    """Computes attributions for the predicted class of each image and, for a mistake, the true class."""
    logits = predict(trained.network, pixels, trained.normaliser)
    predicted = logits.argmax(1)
    true = predicted if labels is None else labels
    pairs = [(i, int(k)) for i in range(len(pixels)) for k in dict.fromkeys((predicted[i], true[i]))]
    image_of, targets = np.array([i for i, _ in pairs]), torch.tensor([k for _, k in pairs])
    x = trained.normaliser(torch.from_numpy(pixels.copy()))[torch.from_numpy(image_of)]
    black = trained.normaliser(torch.zeros(1, pixels.shape[1], 1, 1, dtype=torch.uint8))[0]
    integrated = integrated_gradients(trained.network, x, targets, black, steps)
    if layer is None:
        cams = np.empty((len(pairs), 0, 0), np.float32)
    else:
        cams = grad_cam(trained.network, x, targets, layer.place).numpy()
    probs, totals = np.nan_to_num(probabilities(logits)), integrated.attributions.flatten(1).sum(1)
    attributions: dict[int, list[Attribution]] = {}
    for row, (i, k) in enumerate(pairs):
        numbers = float(probs[i, k]), float(logits[i, k]), float(integrated.change[row]), float(totals[row])
        attributions.setdefault(i, []).append(Attribution(trained.classes[k], *numbers))
    examples = tuple(
        ExplainedImage(
            source=source if isinstance(source, str) else "",
            index=None if isinstance(source, str) else source,
            true_class="" if labels is None else trained.classes[labels[i]],
            attributions=tuple(attributions[i]),
        )
        for i, source in enumerate(sources)
    )
    return _Explained(examples, image_of, integrated.attributions.numpy(), cams)


def _images_of_maps(examples: Sequence[ExplainedImage]) -> list[int]:
    """Selects a mistake, if there is one, and correct images."""
    order = sorted(range(len(examples)), key=lambda i: examples[i].is_mistake)
    mistakes = [i for i in order if examples[i].is_mistake]
    return (mistakes[:1] + order)[: min(MAP_IMAGES, len(examples))]


def _maps(trained: _Trained, pixels: np.ndarray, layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    x = trained.normaliser(torch.from_numpy(pixels.copy()))
    with torch.no_grad():
        _output, maps = outputs_of(trained.network, x, [layer.place for layer in layers])
    return {layer.label: found.float().numpy() for layer, found in zip(layers, maps, strict=True)}


def _gradients(
    run: Run, train: ImageSet, trained: _Trained, random: np.random.Generator
) -> dict[str, tuple[float, float]]:
    batch = np.sort(random.permutation(len(train))[:GRADIENT_IMAGES])
    x = trained.normaliser(torch.from_numpy(train.images[batch]))
    loss = losses.build(run.recipe.train.loss, faults=run.recipe.protocol.faults)
    return gradient_norms(trained.network, x, torch.from_numpy(train.labels[batch]), loss)


def _check_finite(run: Run, logits: np.ndarray) -> None:
    if not np.isfinite(logits).all():
        count = int((~np.isfinite(logits)).any(axis=1).sum())
        raise ValueError(
            _(
                "{path}: the outputs of {count:,} of {n:,} images are not finite",
                path=run.path,
                count=count,
                n=len(logits),
            )
        )


def _map_facts(embedding: Embedding, outputs: Passes, mistakes: int) -> MapSummary:
    return MapSummary(
        layer=outputs.last_layer,
        features=outputs.features.shape[1],
        explained=embedding.explained,
        perplexity=embedding.perplexity,
        divergence=embedding.divergence,
        mistakes=mistakes,
    )
