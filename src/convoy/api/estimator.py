"""A scikit-learn classifier that trains a network on arrays of images."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from convoy import models
from convoy.api.arguments import recipe_of, recipe_to_train, refuse_keys
from convoy.api.session import display
from convoy.data import prepare
from convoy.data.arrays import as_images, resize
from convoy.data.imageset import DataSet, ImageSet
from convoy.evaluation.load import geometry_of, network_of
from convoy.evaluation.loaded import LoadedModel, normaliser_of
from convoy.evaluation.predict import predict
from convoy.evaluation.scores import probabilities
from convoy.events import Ended
from convoy.options import check_type, full_key
from convoy.recipe import Recipe
from convoy.recipe.sections import MAX_IMAGE_SIZE
from convoy.run_contents import DIVERGED
from convoy.runs import Run
from convoy.text import gettext as _
from convoy.training.machine.device import device_of
from convoy.training.run.plan import plan_one
from convoy.training.run.run_one import run_one

NAME = "arrays"  # name of the data in recipes and run folders
VALIDATION = "data.split.validation"
FIXED = ("data.name", "data.split.fold", "data.split.group_by", "data.split.repeat", "data.split.test")
CHUNK = 1000  # images
_training = threading.Lock()  # one fit at a time, because torch's generator and thread count are global


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier that trains a network on arrays of images, with Convoy.

    If an argument is None, the value in the recipe is used. With few images, a smaller batch size and more epochs are
    used, as in Convoy's commands. `random_state=None` uses the recipe's seed, so that each fit gives the same weights.

    Parameters
    ----------
    model
        Name of a model or recipe, a recipe file (.toml), your own network as "net.py" or "net.py:Net", or a Recipe.
    epochs
        Passes over the training images.
    batch_size
        Images per step.
    lr
        Learning rate.
    augment
        Augment the training images as set in the recipe.
    random_state
        Seed of initialisation, batch order, augmentation and dropout: an integer, or a RandomState from which each fit
        draws an integer.
    set
        Other keys of the recipe, as in {"optim.name": "sgd"}.
    image_shape
        The shape of an image in flat rows: (H, W), (H, W, C) or (C, H, W). Default: a square, or 1 x F pixels if the
        number F of features is not a square number.
    out
        Folder in which the run is stored. Default: a temporary folder.
    verbose
        Print progress.

    Attributes
    ----------
    classes_
        The labels of y, sorted. They may be numbers or strings.
    network_
        The trained network, a torch.nn.Module as returned by `convoy.load`.
    recipe_
        The recipe that was trained.
    image_shape_
        The shape of an image in X.
    range_
        The smallest and the largest value of the training images, which become black and white.
    run_
        The run in `out`; None without `out`.
    n_features_in_
        Number of values of an image.
    feature_names_in_
        The names of the columns of X, if it was a table.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> classifier = convoy.ImageClassifier("lenet", epochs=2)
    >>> predicted = classifier.fit(digits.images, digits.target).predict(digits.images)
    """

    def __init__(
        self,
        model: str | Path | Recipe = "lenet",
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        augment: bool = True,
        random_state: int | np.random.RandomState | None = None,
        set: Mapping[str, Any] | None = None,  # noqa: A002
        image_shape: Sequence[int] | None = None,
        out: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.augment = augment
        self.random_state = random_state
        self.set = set
        self.image_shape = image_shape
        self.out = out
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Trains a network on all images.

        With `set={"data.split.validation": 0.2}`, a fifth of them is held out and selects the best epoch.

        Parameters
        ----------
        X
            Images [N, H, W], [N, H, W, C], [N, C, H, W] with 1 or 3 channels, or rows [N, F]: an array or a table.
            uint8 values are used as they are. Others are mapped to 256 levels, from the smallest to the largest in X.
        y
            The label of each image, of any type.

        Raises
        ------
        ValueError
            An argument is invalid, or the network cannot be trained on these images.
        """
        rows, shape = _flattened(X)
        rows, y = validate_data(self, rows, y)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                _("expected at least two classes in y, got one class: {classes!r}", classes=classes[:1].tolist()[0])
            )
        self.classes_, self.range_ = classes, _range_of(rows)
        self.image_shape_ = shape if len(shape) > 1 else _shape_of(shape[0], self.image_shape)
        options = self._options()
        images = self._images(rows)
        side = _side(images, recipe_of(self.model, options))
        pixels, names = resize(images, side, side), tuple(map(str, classes))
        train = ImageSet(pixels, labels.astype(np.int64), names)
        dataset = DataSet(NAME, train, test=train.take(np.arange(0)))
        recipe = recipe_to_train(self.model, options, dataset)
        with _training, torch.random.fork_rng(devices=[]), self._workspace() as out:
            plan = plan_one(recipe, prepare(recipe.data, dataset))
            with display([recipe.label], show=self.verbose) as show:
                for event in run_one(plan, out, test=False):
                    show(0, event)
            assert isinstance(event, Ended)
            run = Run(event.run)
            self.network_, self.recipe_ = LoadedModel(network_of(run, trust_code=True), run.data), run.recipe
            self.run_ = None if self.out is None else run
            if run.status.stopped == DIVERGED:
                advice = _("{reason}; try a lower lr", reason=run.status.reason)
                warnings.warn(advice, ConvergenceWarning, stacklevel=2)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the probability of each class, float64 [N, classes], in the order of `classes_`."""
        check_is_fitted(self, "network_")
        rows, shape = _flattened(X)
        rows = validate_data(self, rows, reset=False)
        if len(shape) > 1 and shape != self.image_shape_:
            raise ValueError(
                _(
                    "expected images of shape {image_shape}, as in fit, got {shape}",
                    image_shape=self.image_shape_,
                    shape=shape,
                )
            )
        data, device = self.network_.data, device_of(self.recipe_)
        pixels = resize(self._images(rows), data.image_size, data.image_size)
        logits = predict(self.network_.to(device), pixels, normaliser_of(data, device))
        self.network_.to("cpu")  # so that a pickle can be read on another machine
        if not np.isfinite(logits).all():
            raise ValueError(_("the outputs of the network are not finite; train it with a lower lr"))
        return probabilities(logits)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the most probable label for each image."""
        check_is_fitted(self, "network_")
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __getstate__(self) -> dict[str, Any]:
        """A pickle contains the weights instead of the network, because a user's class cannot be pickled."""
        state = dict(super().__getstate__())
        if "network_" in state:
            state["network_"] = (self.network_.network.state_dict(), self.network_.data)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "network_" in state:
            weights, data = state["network_"]
            model = self.recipe_.model
            with torch.random.fork_rng(devices=[]):
                network = models.create(model.name, **geometry_of(data)._asdict(), options=model.options)
            network.load_state_dict(weights)
            self.network_ = LoadedModel(network, data)

    def _options(self) -> dict[str, object]:
        """The options of `convoy.train`."""
        check_type("out", self.out, str, PathLike, NoneType)
        if not isinstance(self.set, Mapping | None):
            raise ValueError(
                _("set = {set!r}: expected recipe keys with values, as in {{'optim.lr': 0.01}}", set=self.set)
            )
        seed = self.random_state
        if seed is not None and not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31)
        values = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr, "seed": seed}
        options = {name: _plain(value) for name, value in values.items()}
        pairs = {full_key(key): _plain(value) for key, value in dict(self.set or {}).items()}
        options |= {"set": list(({VALIDATION: 0.0} | pairs).items()), "augment": self.augment}
        refuse_keys({"set": tuple(pairs.items())}, FIXED, "ImageClassifier", _("pass the images to fit"))
        return options | {"data": NAME}

    def _images(self, rows: np.ndarray) -> np.ndarray:
        """Returns rows [N, F] as uint8 [N, C, H, W]."""
        return as_images(_levels(rows, *self.range_).reshape(-1, *self.image_shape_), "X")

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        if self.out is not None:
            yield Path(self.out)
            return
        with TemporaryDirectory(prefix="convoy-") as folder:
            yield Path(folder)


def _plain(value: Any) -> Any:
    """Converts numpy numbers, which occur in parameter grids, to Python numbers."""
    return value.item() if isinstance(value, np.generic) else value


def _flattened(images: Any) -> tuple[Any, tuple[int, ...]]:
    """Returns images as rows, and the shape of an image. Rows (also tables and lists of rows) are unchanged."""
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu()
        images = images.float() if images.dtype == torch.bfloat16 else images  # NumPy has no bfloat16
    shape = tuple(images.shape if hasattr(images, "shape") else np.asarray(images).shape)
    rows = np.asarray(images).reshape(shape[0], math.prod(shape[1:])) if len(shape) > 2 else images
    return rows, shape[1:]


def _shape_of(features: int, image_shape: Sequence[int] | None) -> tuple[int, ...]:
    """Returns the shape of an image that is given as a row."""
    if image_shape is not None:
        shape = tuple(image_shape) if isinstance(image_shape, Sequence) else ()
        is_valid = len(shape) in (2, 3) and all(isinstance(side, Integral) and side > 0 for side in shape)
        if not is_valid or math.prod(shape) != features:
            expected = _("(H, W), (H, W, C) or (C, H, W) with {n:,} values in all", n=features)
            raise ValueError(
                _("image_shape = {image_shape!r}: expected {expected}", image_shape=image_shape, expected=expected)
            )
        return shape
    side = math.isqrt(features)
    return (side, side) if side**2 == features else (1, features)


def _range_of(values: np.ndarray) -> tuple[float, float]:
    """Returns the values that are mapped to 0 and 255."""
    if values.dtype == np.uint8:
        return 0.0, 255.0
    return float(values.min()), float(values.max())


def _levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Maps low..high to uint8 0..255 and clips."""
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    levels = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK].astype(np.float64) - low
        levels[start : start + CHUNK] = np.rint(chunk * (255 / ((high - low) or 1))).clip(0, 255)
    return levels


def _side(images: np.ndarray, recipe: Recipe) -> int:
    """Returns the side to which images [N, C, H, W] are resized: data.size, or their longer side.

    Images that are too small for the network are enlarged.
    """
    if recipe.data.size is not None:
        return recipe.data.size
    height, width = images.shape[2:]
    name = recipe.model.name
    side = max(height, width, models.MODELS[name].smallest_image if name in models.MODELS else 1)
    if side > MAX_IMAGE_SIZE:
        raise ValueError(
            _(
                "images of {height} x {width} pixels: expected at most {largest_image} per side, or image_shape",
                height=height,
                width=width,
                largest_image=MAX_IMAGE_SIZE,
            )
        )
    return side
