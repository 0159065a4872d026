"""Functions of single runs: train, test, predict, load, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypedDict, Unpack

from convoy.api.session import Stopped, display, resume_hint, session_of
from convoy.options import ARGUMENTS, Data, Flag, Limit, Out, Set, Show, TrainOptions, takes_options
from convoy.text import gettext as _
from convoy.text import short_path

if TYPE_CHECKING:
    from convoy.data.photo import Ink
    from convoy.evaluation.loaded import LoadedModel
    from convoy.evaluation.saved import Evaluation
    from convoy.recipe import Recipe
    from convoy.runs import Run, Study

__all__ = [
    "Prediction",
    "load",
    "predict",
    "report",
    "test",
    "train",
]
ARGUMENTS.update(
    weights="The folder or name of a run, or a .safetensors / .pth file.",
    images="Image files or folders of images.",
)


@takes_options
def train(recipe: Recipe | str | Path | None = None, **options: Unpack[TrainOptions]) -> Run:
    """Train one recipe, score it and write a run folder.

    A finished run of the same recipe is reused; an unfinished one is resumed.

    Example: `convoy train lenet --data mnist --epochs 5`

    Returns
    -------
    Run
        The finished run: scores, cost, predictions, and the path of its folder.

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> accuracy = run.scores["test"].accuracy  # a fraction
    """
    from convoy.api.arguments import recipe_to_train
    from convoy.events import Control, Ended
    from convoy.run_contents import RunState
    from convoy.runs import Run
    from convoy.training.run.follow import follow, lead
    from convoy.training.run.run_one import run_one
    from convoy.training.step.ranks import torchrun_ranks

    resolved, ranks = recipe_to_train(recipe, options), torchrun_ranks()
    if ranks is not None and not ranks.is_leader:
        if (path := follow(resolved, ranks)) is None:
            raise SystemExit(0)  # rank 0 reports why
        return Run(path)
    with session_of([resolved.label], options, joins=True) as session:

        def control() -> Control:
            return Control.PAUSE if session.interrupted() else Control.CONTINUE

        events = run_one(resolved, session.out, fresh=options["fresh"], test=session.test, control=control, ranks=ranks)
        for event in events if ranks is None else lead(events, ranks):
            session.show(0, event)
    if not (isinstance(event, Ended) and event.state is RunState.FINISHED):
        raise Stopped(resume_hint(options))
    return Run(event.run)


TrustCode = Annotated[bool, Flag("Execute model code from a run folder that was made on another machine.", False)]
Raw = Annotated[
    bool,
    Flag(
        "Read the images unchanged. By default, a photograph for a network trained on MNIST or EMNIST is cropped to "
        "the character, inverted if it is dark, scaled and centred as in MNIST.",
        False,
    ),
]


class ScoreOptions(TypedDict, total=False):
    model: Annotated[str | None, Flag("Name of the model, for a weights file. Not needed for a run.")]
    samples: Annotated[int, Flag("Number of images in the gallery.", 40)]
    save: Annotated[str | Path | None, Flag("PNG file of the gallery. Default: no gallery.")]
    data: Data
    limit: Limit
    size: Annotated[int | None, Flag("Image size in pixels per side, for a weights file.")]
    mean: Annotated[
        Sequence[float] | str | None,
        Flag(
            "Mean of the pixels (0 to 1) in the normalisation of a weights file: one value, or one per channel, as in "
            "0.5,0.5,0.5. Default: that of the training images."
        ),
    ]
    std: Annotated[Sequence[float] | str | None, Flag("Standard deviation of the pixels, in the same form as mean.")]
    groups: Annotated[
        str | Path | None,
        Flag(
            "File with the group of each test image (.npy, .csv or .txt); the accuracy of each group is "
            "reported. Default: data.split.group_by, if the test set was split off with it."
        ),
    ]
    corruptions: Annotated[
        bool,
        Flag(
            "Also score corrupted test images, 15 kinds at 5 severities: the kinds of MNIST-C for grey images, of "
            "CIFAR-10-C for colour images. The result is stored in the run.",
            False,
        ),
    ]
    raw: Raw
    set: Set
    trust_code: TrustCode
    out: Out
    show: Show


@takes_options
def test(weights: Run | str | Path, **options: Unpack[ScoreOptions]) -> Evaluation:
    """Evaluate saved weights on a test set and draw a gallery of predictions.

    The opening of the test set is counted in the run's workspace, or in OUT. For an image folder without train/, the
    images in test/ are scored, or all images if test/ does not exist.

    Example: `convoy test weights.pth --model lenet --data mnist --samples 40 --save predictions.png`

    Returns
    -------
    Evaluation
        The score with calibration and the accuracy of each class and group, and how often the test set has been opened
        in the workspace.

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> tested = convoy.test(run, save="gallery.png")
    >>> correct = tested.score.correct
    """
    from convoy.api.arguments import full_name, numbers, overrides_of, weights_target
    from convoy.evaluation.saved import Request, score_saved
    from convoy.recipe.files import check_once

    samples, picture, model, size = options["samples"], options["save"], options["model"], options["size"]
    mean, std = options["mean"], options["std"]
    if samples < 1:
        raise ValueError(_("samples = {samples}: a gallery needs at least one image", samples=samples))
    target, pairs = weights_target(weights, options["out"]), list(overrides_of(options))
    if mean is not None or std is not None:
        if mean is None or std is None:
            raise ValueError(_("a normalisation needs both mean and std"))
        pairs.append(("data.normalise", [numbers("mean", mean), numbers("std", std)]))
    overrides = pairs + ([("data.size", size)] if size is not None else [])
    check_once(overrides)
    with display([str(weights)], show=options["show"] and "stderr"):
        request = Request(
            model=None if model is None else full_name(model),
            data=None if options["data"] is None else str(options["data"]),
            overrides=overrides,
            groups=None if (groups := options["groups"]) is None else Path(groups),
            corruptions=options["corruptions"],
            raw=options["raw"],
            trust_code=options["trust_code"],
        )
        result = score_saved(target, request, Path(options["out"]))
    if picture is not None:
        from convoy.reporting.figures_images import draw_gallery, prediction_tiles

        draw_gallery(prediction_tiles(*result.gallery(samples)), Path(picture))
    return result.tested


class Prediction(NamedTuple):
    path: str  # path of the image
    predicted: str  # name of the class
    confidence: float  # the softmax of the logits, 0 to 1
    ink: Ink | None  # position and size of the character in a photograph; None for an image that was read unchanged


class PredictOptions(TypedDict, total=False):
    raw: Raw
    trust_code: TrustCode
    out: Out


@takes_options
def predict(
    run: Run | str | Path, images: str | Path | Sequence[str | Path], **options: Unpack[PredictOptions]
) -> list[Prediction]:
    """Classify images with a trained network: files, or folders of files.

    For a network trained on MNIST or EMNIST, photographs of one handwritten character are converted to the format of
    the data set. The ink may be dark or light, the light may be uneven, and the character may have any size and
    position. If a photograph shows several characters, they are classified as one, and `ink.characters` is their
    number.

    Example: `convoy predict lenet-s42 image.png folder/`

    Returns
    -------
    list of Prediction
        For each image: its path, the predicted class and its softmax probability.

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> for path, predicted, confidence, ink in convoy.predict(run, "digits/"):
    ...     print(path, predicted, f"{confidence:.1%}")
    """
    import numpy as np

    from convoy.api.arguments import find_run, newest
    from convoy.evaluation.load import network_of
    from convoy.evaluation.loaded import normaliser_of, read_for
    from convoy.evaluation.predict import predict as evaluate
    from convoy.evaluation.scores import NO_CLASS, predicted_classes, probabilities

    trained = newest(find_run, run, options["out"])
    data, images = trained.data, [images] if isinstance(images, str | Path) else images
    paths, pixels, inks = read_for(data, images, raw=options["raw"])
    module = network_of(trained, trust_code=options["trust_code"])
    logits = evaluate(module, pixels, normaliser_of(data))
    probs = np.nan_to_num(probabilities(logits))
    return [
        Prediction(str(path), _("no class") if place == NO_CLASS else data.classes[place], float(row[place]), ink)
        for path, row, place, ink in zip(paths, probs, predicted_classes(logits), inks, strict=True)
    ]


class LoadOptions(TypedDict, total=False):
    trust_code: TrustCode
    out: Out


@takes_options
def load(run: Run | str | Path, **options: Unpack[LoadOptions]) -> LoadedModel:
    """Load the trained network of a run as a PyTorch module, with its preprocessing and the names of its classes.

    The module is in evaluation mode and maps normalised images [N, C, H, H] to logits [N, classes].

    Returns
    -------
    LoadedModel
        A torch.nn.Module. `preprocess` converts paths, Pillow images and uint8 arrays ([H, W], [H, W, C], [N, H, W],
        [N, H, W, C]) to its input, with the pixels that `predict` uses: with `raw=True`, photographs of characters are
        read unchanged. `classes` are the names of the classes, `network` is the network itself.

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> model = convoy.load(run)
    >>> logits = model(model.preprocess("digits/"))
    >>> name = model.classes[logits[0].argmax()]
    """
    from convoy.api.arguments import find_run, newest
    from convoy.evaluation.load import network_of
    from convoy.evaluation.loaded import LoadedModel

    trained = newest(find_run, run, options["out"])
    return LoadedModel(network_of(trained, trust_code=options["trust_code"]), trained.data)


class ReportOptions(TypedDict, total=False):
    format: Annotated[
        str | None,
        Flag("Write a lab report instead, as html, md, docx, tex or pdf. Default: report.html and report.md."),
    ]
    author: Annotated[str | None, Flag("Name above the title of a lab report.")]
    overwrite: Annotated[bool, Flag("Replace an existing lab report or checklist.", False)]
    checklist: Annotated[
        str | None,
        Flag(
            "Write a checklist, neurips or reforms, instead. As many questions as possible are answered from "
            "the run folders."
        ),
    ]
    out: Out


@takes_options
def report(target: Run | Study | str | Path, **options: Unpack[ReportOptions]) -> Path:
    """Rewrite report.html, report.md and the figures of a run or a study, or write a lab report or a checklist.

    A lab report, lab-report.FORMAT, is the report with a description of the method, a diagram and the layers of each
    network, questions to discuss and references. A checklist, checklist-NAME.html and .md, has the questions of the
    NeurIPS paper checklist or of REFORMS. The run folders answer as many as possible, with links to their files.

    Example: `convoy report compare-lenet-two_conv_cnn`

    Returns
    -------
    Path
        The page, report.html, with report.md next to it; or the lab report, or the page of the checklist.

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> page = convoy.report(run)
    """
    from convoy.api.arguments import locate, newest
    from convoy.experiments import kinds
    from convoy.lab import write_lab_report
    from convoy.reporting import write_report
    from convoy.reporting.checklist import write_checklist

    subject = newest(locate, target, options["out"])
    suffix, author, overwrite = options["format"], options["author"], options["overwrite"]
    checklist = options["checklist"]
    if checklist is not None and suffix is not None:
        raise ValueError(_("--checklist and --format write different documents: use one of them"))
    if suffix is None and (author is not None or (overwrite and checklist is None)):
        raise ValueError(_("--author and --overwrite are for lab reports: use them with --format"))
    about = kinds.about_of(subject)
    try:
        if checklist is not None:
            path = write_checklist(subject, checklist, about, overwrite=overwrite)
            if not (subject.path / "report.html").is_file():  # the checklist links to the report
                write_report(subject, page_of=kinds.page_of)
            return path
        if suffix is not None:
            return write_lab_report(
                subject, suffix, page_of=kinds.page_of, about=about, author=author, overwrite=overwrite
            )
        return write_report(subject, page_of=kinds.page_of)
    except OSError as error:
        where = f"{short_path(Path(error.filename or subject.path))}: {error.strerror or error}"
        raise ValueError(
            _(
                "{where}; the results are saved; to write the report, run: convoy report {path}",
                where=where,
                path=subject.path,
            )
        ) from error
