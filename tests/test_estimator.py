"""ImageClassifier follows scikit-learn's conventions and works with its tools."""

from __future__ import annotations

import copy
import pickle
import random
import tempfile
from collections.abc import Callable
from doctest import DocTestParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import convoy
from convoy import ImageClassifier

NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, in_chans, num_classes, image_size):
        super().__init__(nn.Flatten(), nn.Linear(in_chans * image_size**2, num_classes))
"""


@parametrize_with_checks([ImageClassifier(epochs=2, batch_size=16, lr=3e-3)])
def test_scikit_learn_check(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def striped(n: int = 60, shape: tuple[int, ...] = (16, 16), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy uint8 images with a bright stripe in one of three places, and its name."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 100, (n, *shape), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[..., 1 + 5 * label : 4 + 5 * label] += 120
    return images, np.array(["left", "middle", "right"])[labels]


def small(**options: Any) -> ImageClassifier:
    return ImageClassifier(**{"model": "lenet", "epochs": 4, "batch_size": 8} | options)


@pytest.fixture(scope="module")
def trained() -> ImageClassifier:
    return small().fit(*striped())


def test_it_classifies_new_images_and_names_their_classes(trained: ImageClassifier) -> None:
    images, labels = striped(seed=1)
    probabilities = trained.predict_proba(images)

    assert trained.score(images, labels) > 0.9
    assert list(trained.classes_) == ["left", "middle", "right"]
    assert (probabilities.shape, probabilities.dtype) == ((60, 3), np.float64)
    assert trained.network_.classes == ("left", "middle", "right")


@pytest.mark.parametrize("kind", [str, float, bool, object], ids=lambda kind: kind.__name__)
def test_labels_of_any_type_are_predicted_unchanged(kind: type) -> None:
    images, labels = striped(30)
    names = labels.astype(object) if kind is object else (labels == "left").astype(int).astype(kind)

    predicted = small(epochs=1).fit(images, names).predict(images)

    assert predicted.dtype == np.asarray(names).dtype
    assert set(predicted) <= set(names)


@pytest.mark.parametrize("options", [{"requires_grad": True}, {"dtype": torch.bfloat16}], ids=str)
def test_tensors_that_numpy_cannot_read_are_images(options: dict[str, Any]) -> None:
    images, labels = striped(30)
    tensor = torch.tensor(images.astype(np.float32), **options)
    expected = tensor.detach().float().numpy()

    output = small(epochs=1).fit(tensor, labels).predict_proba(tensor)

    assert (output == small(epochs=1).fit(expected, labels).predict_proba(expected)).all()


def test_all_forms_of_grey_images_give_the_same_network() -> None:
    images, labels = striped(30)
    forms = [images, images[..., None], images[:, None], images.reshape(30, -1)]

    outputs = [small(epochs=1).fit(form, labels).predict_proba(form) for form in forms]

    assert all((output == outputs[0]).all() for output in outputs)


def test_all_forms_of_colour_images_give_the_same_network() -> None:
    images, labels = striped(30, (3, 16, 16))
    channels_last = images.transpose(0, 2, 3, 1)
    rows = channels_last.reshape(30, -1)

    outputs = [small(epochs=1).fit(form, labels).predict_proba(form) for form in (images, channels_last)]
    outputs.append(small(epochs=1, image_shape=(16, 16, 3)).fit(rows, labels).predict_proba(rows))

    assert all((output == outputs[0]).all() for output in outputs)


def test_a_network_fitted_on_images_accepts_rows_and_vice_versa(trained: ImageClassifier) -> None:
    images, labels = striped()
    rows = images.reshape(60, -1)

    assert (trained.predict_proba(rows) == trained.predict_proba(images)).all()
    assert (small().fit(rows, labels).predict_proba(images) == trained.predict_proba(images)).all()


@pytest.mark.parametrize(
    ("shape", "set", "side"),
    [((16, 16), {}, 16), ((8, 8), {}, 16), ((24, 16), {}, 24), ((19,), {}, 19), ((9, 9), {"data.size": 18}, 18)],
    ids=["as it is", "too small for lenet", "not square", "no square of features", "data.size"],
)
def test_images_become_squares_without_cropping(shape: tuple[int, ...], set: Any, side: int) -> None:  # noqa: A002
    """The class is in the first and the last value only: one of them is bright."""
    labels = np.arange(24) % 2
    images = np.zeros((24, *shape))
    images.reshape(24, -1)[:, 0], images.reshape(24, -1)[:, -1] = labels, 1 - labels

    classifier = ImageClassifier(epochs=10, batch_size=4, lr=3e-3, set=set).fit(images, labels)

    assert classifier.network_.data.image_size == side
    assert classifier.score(images, labels) == 1


def test_numbers_are_scaled_by_the_range_of_the_training_images(trained: ImageClassifier) -> None:
    images, labels = striped()
    in_range = np.concatenate([images, np.full((1, 16, 16), 0, np.uint8), np.full((1, 16, 16), 255, np.uint8)])
    more_labels = [*labels, "left", "right"]
    as_bytes = small(epochs=1).fit(in_range, more_labels).predict_proba(images)

    for low, high in ((0, 1), (-3, 3), (0, 255)):
        scaled = low + in_range / 255 * (high - low)
        classifier = small(epochs=1).fit(scaled, more_labels)
        assert classifier.range_ == (low, high)
        assert (classifier.predict_proba(scaled[:60]) == as_bytes).all()
    assert trained.range_ == (0, 255)
    assert (trained.predict_proba(images.astype(float)) == trained.predict_proba(images)).all()


def test_predictions_do_not_depend_on_the_other_images(trained: ImageClassifier) -> None:
    images, _ = striped(seed=1)
    order = np.random.default_rng(0).permutation(60)
    expected = trained.predict_proba(images)

    np.testing.assert_allclose(trained.predict_proba(images[order]), expected[order], rtol=0, atol=1e-6)
    np.testing.assert_allclose(trained.predict_proba(images[:1]), expected[:1], rtol=0, atol=1e-6)


def test_random_state_determines_the_weights(trained: ImageClassifier) -> None:
    images, labels = striped(30)

    def output(random_state: Any) -> np.ndarray:
        return small(epochs=1, random_state=random_state).fit(images, labels).predict_proba(images)

    first = output(1)
    assert (output(1) == first).all()
    assert (output(None) == output(42)).all()  # the recipe's seed
    assert (output(np.random.RandomState(5)) == output(np.random.RandomState(5))).all()
    assert (output(2) != first).any()


def test_fit_does_not_change_other_random_states_and_the_thread_count() -> None:
    states = (torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    threads = torch.get_num_threads()

    small(epochs=1, set={"compute.threads": threads + 1}).fit(*striped(30))

    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert torch.get_num_threads() == threads


def test_it_leaves_no_files_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("cwd", "temporary", "cache"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "cache"))

    classifier = small(epochs=1).fit(*striped(30))

    assert [path.name for path in tmp_path.glob("*/*")] == []
    assert tuple(capfd.readouterr()) == ("", "")
    assert classifier.run_ is None


def test_verbose_prints_the_progress(capfd: pytest.CaptureFixture[str]) -> None:
    small(epochs=2, verbose=True).fit(*striped(30))

    assert "epoch 2/2" in capfd.readouterr().out


@pytest.mark.usefixtures("words_alone")
def test_out_keeps_the_run_and_reuses_it(tmp_path: Path) -> None:
    images, labels = striped(30)
    first = small(epochs=1, out=tmp_path).fit(images, labels)
    finished_at = (first.run_.path / "status.json").stat().st_mtime_ns

    second = small(epochs=1, out=tmp_path).fit(images, labels)

    assert second.run_.path == first.run_.path
    assert (second.run_.path / "status.json").stat().st_mtime_ns == finished_at
    assert (second.predict_proba(images) == first.predict_proba(images)).all()
    assert convoy.load(first.run_).classes == ("left", "middle", "right")
    assert convoy.report(first.run_).is_file()


def test_validation_images_select_the_best_epoch_only_on_request() -> None:
    images, labels = striped()

    assert small(epochs=1).fit(images, labels).network_.data.counts == {"train": 60}
    classifier = small(epochs=1, set={"data.split.validation": 0.2}).fit(images, labels)
    assert classifier.network_.data.counts == {"train": 48, "validation": 12}


def test_few_images_get_a_smaller_batch_and_more_epochs() -> None:
    train = ImageClassifier(set={"stop.max_seconds": 0.01}).fit(*striped(30)).recipe_.train

    assert (train.batch_size, train.epochs) == (8, 125)


def test_a_copy_and_a_pickle_predict_the_same(trained: ImageClassifier) -> None:
    images, _ = striped()

    for restored in (copy.deepcopy(trained), pickle.loads(pickle.dumps(trained))):
        assert (restored.predict_proba(images) == trained.predict_proba(images)).all()
        assert not restored.network_.training
    assert not hasattr(clone(trained), "network_")


def test_a_network_of_your_own_can_be_fitted_and_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    images, labels = striped()

    classifier = small(model="net.py", epochs=20).fit(images, labels)

    assert classifier.score(images, labels) > 0.9
    restored = pickle.loads(pickle.dumps(classifier))
    assert (restored.predict_proba(images) == classifier.predict_proba(images)).all()


def test_the_example_of_the_docstring_runs() -> None:
    examples = DocTestParser().get_examples(ImageClassifier.__doc__ or "")
    exec("".join(example.source for example in examples), {"convoy": convoy})


def test_cross_val_score() -> None:
    assert cross_val_score(small(), *striped(), cv=3).mean() > 0.9


def test_grid_search_varies_arguments_and_recipe_keys() -> None:
    """numpy's numbers, as parameter distributions draw them, are accepted."""
    grid = [{"lr": np.array([1e-6, 1e-2])}, {"epochs": np.array([1]), "set": [{"optim.name": "sgd", "lr": 1e-6}]}]

    search = GridSearchCV(small(), grid, cv=2).fit(*striped(30))

    assert search.best_params_ == {"lr": 1e-2}
    assert search.best_score_ > search.cv_results_["mean_test_score"][[0, 2]].max()


def test_other_processes_give_the_same_networks() -> None:
    """joblib starts workers, to which the images are sent, and from which the fitted classifiers return."""
    images, labels = striped(30)

    here, there = (cross_validate(small(), images, labels, cv=2, n_jobs=n, return_estimator=True) for n in (1, 2))

    for one, other in zip(here["estimator"], there["estimator"], strict=True):
        assert (one.predict_proba(images) == other.predict_proba(images)).all()


def test_threads_give_the_same_networks() -> None:
    images, labels = striped(30)

    with parallel_config("threading"):
        here, there = (
            cross_val_predict(small(epochs=1), images, labels, cv=3, n_jobs=n, method="predict_proba") for n in (1, 3)
        )

    assert (here == there).all()


def test_pipeline_with_standardised_rows_that_are_mostly_negative() -> None:
    images, labels = striped()
    pipeline = make_pipeline(StandardScaler(), small())
    pipeline.set_params(imageclassifier__epochs=5)

    assert cross_val_score(pipeline, images.reshape(60, -1), labels, cv=3).mean() > 0.9


@pytest.mark.parametrize("method", ["sigmoid", "temperature"])
def test_calibration(method: str) -> None:
    images, labels = striped()
    calibrated = CalibratedClassifierCV(small(), method=method, cv=2).fit(images, labels)

    np.testing.assert_allclose(calibrated.predict_proba(images).sum(axis=1), 1)
    assert calibrated.score(images, labels) > 0.9


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"model": "lenett"}, (16, 16), "lenet"),
        ({"model": "vgg11", "set": {"data.size": 16}}, (16, 16), "too small for vgg11: expected 17 or more"),
        ({"lr": -1.0}, (16, 16), "optim.lr"),
        ({"lr": 0.1, "set": {"lr": 0.2}}, (16, 16), "optim.lr is set twice"),
        ({"set": {"optim.lrr": 0.2}}, (16, 16), "optim.lr"),
        ({"set": {"data.name": "mnist"}}, (16, 16), "ImageClassifier sets data.name itself; pass the images to fit"),
        ({"set": {"stop.patience_epochs": 2}}, (16, 16), "needs a validation set, but data.split.validation is 0"),
        ({"image_shape": (3, 5, 5)}, (256,), r"image_shape = \(3, 5, 5\): expected .* with 256 values"),
        ({"image_shape": 16}, (256,), r"image_shape = 16: expected \(H, W\)"),
        ({"image_shape": (-16, -16)}, (256,), r"image_shape = \(-16, -16\): expected \(H, W\)"),
        ({"image_shape": (16, "16")}, (256,), r"image_shape = \(16, '16'\): expected \(H, W\)"),
        ({"out": 5}, (16, 16), "^out = 5: expected a string, a path or None, got int$"),
        ({"set": {1: 2}}, (16, 16), "'1'"),
        ({"set": "optim.lr=0.1"}, (16, 16), "set = 'optim.lr=0.1': expected recipe keys with values"),
        ({}, (513,), "images of 1 x 513 pixels: expected at most 512 per side"),
        ({}, (16, 16, 4), "1 or 3 channels"),
        ({}, (2, 3, 16, 16), r"expected shape \[N, H, W\]"),
        ({}, (0,), "0 feature"),
    ],
)
def test_invalid_arguments_are_a_one_line_error(options: dict[str, Any], shape: tuple[int, ...], message: str) -> None:
    images = np.random.default_rng(0).random((12, *shape))

    with pytest.raises(ValueError, match=message) as error:
        small(**options).fit(images, np.arange(12) % 2)

    assert "\n" not in str(error.value)


def test_images_of_one_class_or_one_colour_are_an_error() -> None:
    images, labels = striped(30)

    with pytest.raises(ValueError, match="expected at least two classes in y, got one class: 'left'"):
        small().fit(images, ["left"] * 30)
    with pytest.raises(ValueError, match="got one class: 7"):
        small().fit(images, [7] * 30)
    with pytest.raises(ValueError, match="have the same value: nothing to learn"):
        small().fit(np.ones((30, 16, 16)), labels)


def test_images_of_another_shape_are_an_error(trained: ImageClassifier) -> None:
    with pytest.raises(ValueError, match=r"expected images of shape \(16, 16\), as in fit, got \(32, 8\)"):
        trained.predict(np.zeros((5, 32, 8)))
    with pytest.raises(ValueError, match="X has 225 features, but ImageClassifier is expecting 256 features"):
        trained.predict(np.zeros((5, 15, 15)))


def test_a_diverged_training_warns() -> None:
    with pytest.warns(ConvergenceWarning, match="diverged: .*; try a lower lr"):
        small(epochs=30, lr=1e30, set={"optim.name": "sgd"}).fit(*striped(30))


def test_outputs_that_are_not_finite_are_an_error(trained: ImageClassifier) -> None:
    damaged = copy.deepcopy(trained)
    with torch.no_grad():
        next(damaged.network_.parameters()).fill_(float("nan"))

    with pytest.raises(ValueError, match="the outputs of the network are not finite"):
        damaged.predict(striped()[0])
