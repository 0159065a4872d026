"""The result of `convoy explain`: the types of explain.json and the arrays of explain.npz. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from convoy.notebook import html_of


@dataclass(frozen=True)
class Attribution:
    """The integrated gradients of an image for a class. `output`: the network's output for it, usually a logit."""

    name: str  # name of the class
    probability: float  # the softmax of the outputs
    output: float
    change: float  # the output for the image minus the output for the baseline
    total: float  # sum of the attributions; equals `change` if the integral is exact

    @property
    def error(self) -> float:
        """The completeness error."""
        return self.total - self.change


@dataclass(frozen=True)
class ExplainedImage:
    source: str  # path of a file; empty for an image of the part
    index: int | None  # index of the image in the part; None for a file
    true_class: str  # the true class; empty if unknown
    attributions: tuple[Attribution, ...]  # for the predicted class and, for a mistake, for the true one

    @property
    def predicted(self) -> Attribution:
        return self.attributions[0]

    @property
    def is_mistake(self) -> bool:
        return len(self.attributions) > 1


@dataclass(frozen=True)
class LayerStatistics:
    """The outputs of a layer over many images, and the gradient of its parameters on a batch."""

    name: str  # as in the state dict; with a number if a forward pass calls it several times
    kind: str  # class and settings
    output: tuple[int, ...]  # shape for one image
    units: int  # channels, or outputs of a linear layer
    dead_units: int  # units whose output is the same for all images
    mean: float
    sd: float
    zeros: float  # fraction of the outputs that are exactly 0
    gradient_norm: float | None = None  # gradient norm of the parameters; None without parameters
    weight_norm: float | None = None


@dataclass(frozen=True)
class MapSummary:
    """The map of the images."""

    layer: str  # the layer whose input is mapped
    features: int
    explained: tuple[float, float]  # fractions of the variance along both principal components
    perplexity: float  # perplexity of t-SNE
    divergence: float  # Kullback-Leibler divergence at the end of t-SNE
    mistakes: int  # number of mistakes on the map


@dataclass(frozen=True)
class Confusion:
    true: str
    predicted: str
    images: int
    of: int  # number of images of the true class


@dataclass(frozen=True)
class Explanation:
    label: str
    run: str
    data: str
    part: str  # part that the images are from: test, validation or fold
    classes: tuple[str, ...]
    flags: tuple[str, ...]  # sentences shown in all output of the run
    correct: int  # number of correctly classified images of the part
    images_of_part: int
    seed: int
    steps: int  # number of points that approximate the integral
    cam_layer: str | None  # layer of Grad-CAM; None without a convolution that outputs maps
    cam_is_early: bool  # the layer of Grad-CAM is the first convolution
    map_layers: tuple[str, ...]  # layers whose maps are shown
    examples: tuple[ExplainedImage, ...]
    images: int  # number of images of the statistics and the map
    gradient_images: int
    layers: tuple[LayerStatistics, ...]
    map: MapSummary | None  # None: too few images, or equal features
    confused: tuple[Confusion, ...]
    schema: int = 1
    _repr_html_ = html_of

    def __repr__(self) -> str:
        return f"Explanation({self.run!r}, {len(self.examples)} images, {len(self.layers)} layers)"

    @property
    def largest_error(self) -> float:
        """The largest absolute completeness error."""
        return max(abs(each.error) for image in self.examples for each in image.attributions)


EXPLANATION = TypeAdapter(Explanation)


@dataclass(frozen=True)
class Arrays:
    """E explained images with A attributions; N images on the map; feature maps of M of the explained images."""

    images: np.ndarray  # uint8 [E, C, H, H]
    image_of: np.ndarray  # int64 [A]: which of the images
    attributions: np.ndarray  # float32 [A, C, H, H]
    cams: np.ndarray  # float32 [A, h, w]; [A, 0, 0] without a layer for Grad-CAM
    maps_of: np.ndarray  # int64 [M]: which of the images
    maps: dict[str, np.ndarray]  # by layer: float32 [M, K, h, w]
    filters: np.ndarray | None  # float32 [F, C, h, w]
    index: np.ndarray  # int64 [N]: of the images of the map, in the part
    labels: np.ndarray  # int64 [N]
    predicted: np.ndarray  # int64 [N]
    components: np.ndarray  # float32 [N, 2]: principal components; [0, 2] without a map
    tsne: np.ndarray  # float32 [N, 2]
    confused_images: tuple[np.ndarray, ...]  # per pair uint8 [K, C, H, H], the most confident first
    confused_confidence: tuple[np.ndarray, ...]  # per pair [K]
