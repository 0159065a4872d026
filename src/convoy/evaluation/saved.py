"""Scores saved weights: those of a run, or a file from any other source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from convoy.checkpoint import load_into
from convoy.data import DataError, ImageSet, PreparedData, SealedTest, load, prepare
from convoy.data.batches import Normaliser
from convoy.data.decode import decode_files
from convoy.data.duplicates import first_with_same_pixels
from convoy.data.groups import values_in_file
from convoy.data.image_folder import assemble, class_names, labelled_files
from convoy.data.prepare import fixed_statistics
from convoy.data.sources import folder_to_test
from convoy.data.splits import limit_part
from convoy.evaluation import calibration, losses, robustness
from convoy.evaluation.calibration import PartCalibration
from convoy.evaluation.corrupted import score_corrupted
from convoy.evaluation.corruptions import REVISION, kinds_for
from convoy.evaluation.load import build_network, network_of, with_normalisation
from convoy.evaluation.loaded import read_for
from convoy.evaluation.predict import predict
from convoy.evaluation.robustness import Robustness
from convoy.evaluation.scores import predicted_classes, probabilities, score
from convoy.evaluation.subgroups import Subgroup, by_class, by_group
from convoy.recipe import Recipe, resolve
from convoy.recipe.files import Override
from convoy.recipe.sections import Data
from convoy.record import SCORES, contradictions, images_that_may_change
from convoy.registry import missing
from convoy.run_contents import Score, state_name
from convoy.run_files import Contradiction
from convoy.runs import WEIGHTS, Run, Workspace
from convoy.text import gettext as _
from convoy.text.lists import joined

CORRUPTION_SEED = 0
TEST_KEYS = ("data.name", "data.size", "data.limit", "data.split")  # keys that can be set to test a run


@dataclass(frozen=True)
class Evaluation:
    """The score of saved weights on a test set."""

    weights: str  # path of the weights
    data: str  # name of the data set
    score: Score
    openings: int  # how often the test set was opened in the workspace
    limit: int | None = None  # maximum number of images, if limited
    mean: tuple[float, ...] = ()  # mean of the normalisation, by channel
    std: tuple[float, ...] = ()
    photographs: int = 0  # number of photographs of characters that were converted to the format of MNIST
    # number of images of other data that are exact duplicates of training images; None: unknown
    trained_on: int | None = None
    calibration: PartCalibration | None = None  # None: no image has finite outputs
    by_class: tuple[Subgroup, ...] = ()  # accuracy of each class, lowest first
    by_group: tuple[Subgroup, ...] = ()  # accuracy of each group, lowest first; empty without groups
    corruptions: Robustness | None = None  # scores on corrupted images; None unless requested
    # contradictions between files of the run, or between its recorded score and this one
    contradictions: tuple[Contradiction, ...] = ()

    def as_table(self) -> dict[str, object]:
        """Returns the keys of the score as in scores.json and the other values as one table."""
        others = {name: value for name, value in asdict(self).items() if name != "score"}
        return others | self.score.as_table()


class ScoredWeights(NamedTuple):
    tested: Evaluation
    images: np.ndarray  # uint8 [N, C, H, W]
    labels: np.ndarray  # int64 [N]
    logits: np.ndarray  # float32 [N, classes]
    classes: tuple[str, ...]

    def gallery(self, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
        """Random images, labels, predictions, confidences and the classes: the arguments of `prediction_tiles`."""
        count = min(samples, len(self.labels))
        chosen = np.sort(np.random.default_rng(0).choice(len(self.labels), size=count, replace=False))
        predicted, probs = predicted_classes(self.logits[chosen]), np.nan_to_num(probabilities(self.logits[chosen]))
        return self.images[chosen], self.labels[chosen], predicted, probs.max(1), self.classes


class _Subject(NamedTuple):
    """A network and the sealed test set to score it on."""

    module: nn.Module
    recipe: Recipe
    name: str  # name of the data
    test: SealedTest
    mean: tuple[float, ...]
    std: tuple[float, ...]
    limit: int | None
    photographs: int = 0
    is_other: bool = False  # data that the run was not trained on
    groups: np.ndarray | None = None  # str [N], of the images


@dataclass(frozen=True)
class Request:
    """The images that the weights are scored on, and how they are read."""

    model: str | None = None  # model of a weights file
    data: str | None = None  # None: of the run, or of the recipe of `model`
    overrides: Sequence[Override] = ()
    groups: Path | None = None  # file with the group of each image
    corruptions: bool = False  # also scores corrupted images
    raw: bool = False  # reads photographs of characters unchanged
    trust_code: bool = False


def score_saved(target: Run | Path, request: Request, out: Path) -> ScoredWeights:
    """Opens the test set of the requested data (default for a run: its own) and scores the network on it.

    For a run, its own normalisation is used; for a weights file, the normalisation of the recipe given by `model` and
    `data`. For an image folder without a training set, the test set is scored, or all images if it has no test set. Its
    class folders are matched to the run's classes by name, and the images are read as in `predict`. The opening is
    counted in the workspace of the run, or in `out` for a file.

    Raises ValueError if the weights are of another network, if there is no test set, if a weights file is given without
    `model`, and for unknown classes, an override outside TEST_KEYS, damaged predictions, or a file of groups that does
    not fit the images. A weights file and a folder without a training set also need size and normalisation. Corruptions
    need a finished, unchanged run, and images for which they are defined.
    """
    subject = _of_run(target, request) if isinstance(target, Run) else _of_file(target, request)
    stored = target.predictions if isinstance(target, Run) else {}
    if request.groups is not None:
        values = values_in_file(request.groups, len(subject.test), _("scored images of {name}", name=subject.name))
        subject = subject._replace(groups=values.astype(str))
    if request.corruptions:
        _check_corruptions(target, subject)
    openings: list[int] = []
    workspace, name = Workspace(out), str(target)
    if isinstance(target, Run):
        folder, name = target.path.resolve(), target.name
        workspace = Workspace(folder.parents[1] if folder.parent.name == "runs" else out)
    images = subject.test.open(lambda digest: openings.append(workspace.record_opening(digest, name)))
    normaliser = Normaliser(subject.mean, subject.std, torch.device("cpu"), torch.float32)
    logits = predict(subject.module.eval(), images.images, normaliser)
    result = score(logits, images.labels, images.classes, losses.build(subject.recipe.train.loss))
    path = str(target.path if isinstance(target, Run) else target)
    trained_on = _count_trained_on(target, images) if isinstance(target, Run) and subject.is_other else None
    contradicted: tuple[Contradiction, ...] = ()
    if isinstance(target, Run):
        is_repeated = not subject.is_other and not request.overrides
        contradicted = (*contradictions(target), *(_contradicted(target, result) if is_repeated else ()))
    predicted = predicted_classes(logits)
    tested = Evaluation(
        weights=path,
        data=subject.name,
        score=result,
        openings=openings[0],
        limit=subject.limit,
        mean=subject.mean,
        std=subject.std,
        photographs=subject.photographs,
        trained_on=trained_on,
        calibration=calibration.of_outputs("test", logits, images.labels, stored),
        by_class=by_class(images.labels, predicted, images.classes),
        by_group=() if subject.groups is None else by_group(images.labels, predicted, subject.groups),
        contradictions=contradicted,
        corruptions=_corruptions(target, subject, images, result) if request.corruptions else None,
    )
    return ScoredWeights(tested, images.images, images.labels, logits, images.classes)


def _check_corruptions(target: Run | Path, subject: _Subject) -> None:
    """Raises ValueError before the test set is opened, instead of after minutes of scoring."""
    if isinstance(target, Run):
        if not target.finished:
            raise ValueError(
                _(
                    "{path} is {state}: corruptions are scored only for finished runs",
                    path=target.path,
                    state=state_name(target.state),
                )
            )
        target.check_files()
    kinds_for(subject.test.channels, subject.test.size)


def _corruptions(target: Run | Path, subject: _Subject, images: ImageSet, clean: Score) -> Robustness:
    """Scores corrupted images, and stores the result in the run if they are of its own test set."""
    normaliser = Normaliser(subject.mean, subject.std, torch.device("cpu"), torch.float32)
    corrupted = score_corrupted(subject.module, images, normaliser, seed=CORRUPTION_SEED)
    result = Robustness(
        data=subject.name,
        n=len(images),
        limit=subject.limit,
        seed=CORRUPTION_SEED,
        clean_correct=clean.correct,
        scores=corrupted.scores,
        mean_error=corrupted.mean_error,
        weights=robustness.weights_hash(target) if isinstance(target, Run) else "",
        revision=REVISION,
    )
    if isinstance(target, Run) and not subject.is_other:
        robustness.write(target, result)
    return result


def _of_run(run: Run, request: Request) -> _Subject:
    model, data, overrides = request.model, request.data, request.overrides
    for path, _value in overrides:
        if not path.startswith(TEST_KEYS):
            raise ValueError(
                _(
                    "{path}: cannot be set for a test of a run; expected one of {test_keys}",
                    path=path,
                    test_keys=joined(TEST_KEYS),
                )
            )
    if model is not None and model != run.recipe.model.name:
        raise ValueError(
            _("--model {model}: {path} is a run of {name}", model=model, path=run.path, name=run.recipe.model.name)
        )
    named = [("data.name", data)] if data is not None else []
    spec = run.recipe.override([*named, *overrides]).data
    module, mean, std = network_of(run, trust_code=request.trust_code), tuple(run.data.mean), tuple(run.data.std)
    is_own = data is None or _is_data_of(run, data)
    if not is_own and (folder := folder_to_test(spec.name)) is not None:
        if spec.size not in (None, run.data.image_size):
            raise ValueError(
                _(
                    "data.size = {size}: {path} was trained on {image_size} pixels",
                    size=spec.size,
                    path=run.path,
                    image_size=run.data.image_size,
                )
            )
        for path in dict(overrides):
            if path.startswith("data.split"):
                raise ValueError(
                    _(
                        "{path}: cannot be set, because {folder} has no training set to split; every image is scored",
                        path=path,
                        folder=folder,
                    )
                )
        paths, labels = labelled_files(folder, run.data.classes)
        _files, pixels, inks = read_for(run.data, paths, raw=request.raw)
        images = ImageSet(pixels, np.array(labels, np.int64), tuple(run.data.classes))
        if "data.limit" in dict(overrides):  # ignores the limit that was used for training
            images = _limited(images, spec)
        photographs = sum(ink is not None for ink in inks)
        name = _folder_name(spec)
        return _Subject(module, run.recipe, name, SealedTest(images), mean, std, spec.limit, photographs, True)
    prepared = prepare(spec)
    if is_own and prepared.test_is_split_off:
        _check_same_split(run, prepared, overrides)
    _check_fit(run, prepared)
    test, limit, groups = _test_of(prepared), prepared.limit, prepared.groups.get("test")
    return _Subject(module, run.recipe, prepared.name, test, mean, std, limit, is_other=not is_own, groups=groups)


def _of_file(path: Path, request: Request) -> _Subject:
    model = request.model
    if not path.is_file():
        raise ValueError(_("weights file {path!r} {missing}", path=str(path), missing=missing(path)))
    if model is None:
        raise ValueError(_("{path}: a weights file needs the name of its network; use --model", path=path))
    recipe = resolve(model, data=request.data, overrides=request.overrides)
    spec = recipe.data
    if (folder := folder_to_test(spec.name)) is None:
        prepared = with_normalisation(prepare(spec), recipe)
        module = build_network(recipe, prepared.train)
        test, mean, std, limit = _test_of(prepared), prepared.mean, prepared.std, prepared.limit
        groups = prepared.groups.get("test")
        subject = _Subject(module, recipe, prepared.name, test, mean, std, limit, groups=groups)
    else:
        if spec.size is None or isinstance(spec.normalise, str):
            raise ValueError(
                _(
                    "{path}: to test a weights file on a folder without a training set, give the image size and the "
                    "normalisation that it was trained with, as in --size 28 --mean 0.1307 --std 0.3081 "
                    "(of pixels in 0 to 1; one value, or one per channel)",
                    path=path,
                )
            )
        paths, labels = labelled_files(folder, class_names(folder))
        pixels, _notes = decode_files(paths, spec.size)
        name, n_train = _folder_name(spec), {"train": len(labels)}
        dataset = assemble(name, class_names(folder), pixels, np.array(labels, np.int64), n_train, ())
        mean, std = fixed_statistics(spec, dataset.train.channels)
        images = _limited(dataset.train, spec)
        module = build_network(recipe, images)
        subject = _Subject(module, recipe, name, SealedTest(images), mean, std, spec.limit)
    load_into(subject.module, path)
    return subject


def _is_data_of(run: Run, data: str) -> bool:
    """Whether the run was trained on these data: same path, or same content."""
    name = run.recipe.data.name
    if name == data or Path(name).expanduser().resolve() == Path(data).expanduser().resolve():
        return True
    if folder_to_test(data) != Path(data).expanduser().resolve():
        return False
    try:
        return load(data, size=run.recipe.data.size).content_hash == run.data.data_hash
    except DataError:  # no run can be trained on these data, for example because they have a single class
        return False


def _contradicted(run: Run, score: Score) -> Iterator[Contradiction]:
    """Compares a score with the run's recorded score on the same images, unless a fault changed the recorded score."""
    recorded = run.stated_scores.get("test")
    if recorded is None or recorded.n != score.n or run.recipe.protocol.faults:
        return
    if abs(recorded.correct - score.correct) > images_that_may_change(score.n):
        yield Contradiction(run.name, SCORES, WEIGHTS, "test.correct", recorded.correct, score.correct)


def _count_trained_on(run: Run, images: ImageSet) -> int | None:
    """Counts exact duplicates of training images. None if the run's data have changed or are missing."""
    try:
        own = prepare(run.recipe.data)
    except ValueError:
        return None
    if (own.data_hash, own.split_hash) != (run.data.data_hash, run.data.split_hash):
        return None
    first = first_with_same_pixels([own.train.images, images.images])
    return int((first[len(own.train) :] < len(own.train)).sum())


def _limited(images: ImageSet, spec: Data) -> ImageSet:
    if spec.limit is None:
        return images
    return images.take(limit_part(np.arange(len(images)), images.labels, spec.limit, spec.split.seed, "test"))


def _folder_name(spec: Data) -> str:
    return Path(spec.name).expanduser().resolve().name


def _test_of(prepared: PreparedData) -> SealedTest:
    if prepared.test is None:
        raise ValueError(_("{name} has no test set", name=prepared.name))
    return prepared.test


def _check_same_split(run: Run, prepared: PreparedData, overrides: Sequence[Override]) -> None:
    """Checks that a test set that was split from the training images has the same images as in the run."""
    reason = _("the split differs from that of {path}", path=run.path)
    if prepared.data_hash != run.data.data_hash:
        reason = _("{name} has changed since {path} was trained on it", name=prepared.name, path=run.path)
    elif not any(path.startswith("data.split") for path, _value in overrides):
        return
    raise ValueError(
        _(
            "{reason}: the test set may contain training images of that run; test on other data with --data",
            reason=reason,
        )
    )


def _check_fit(run: Run, prepared: PreparedData) -> None:
    expected = (run.data.in_chans, run.data.image_size, tuple(run.data.classes))
    actual = (prepared.in_chans, prepared.image_size, tuple(prepared.classes))
    if actual != expected:
        raise ValueError(
            _(
                "{name} has {shape}; {path} was trained on {expected}",
                name=prepared.name,
                shape=_shape(*actual),
                path=run.path,
                expected=_shape(*expected),
            )
        )


def _shape(in_chans: int, image_size: int, classes: tuple[str, ...]) -> str:
    shape = f"{in_chans}x{image_size}x{image_size}"
    return _("{shape} images of {n} classes ({names}, ...)", shape=shape, n=len(classes), names=joined(classes[:3]))
