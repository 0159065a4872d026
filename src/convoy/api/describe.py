"""Functions that describe networks and data sets, and show trained networks, without training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from convoy.datasheet.options import DataSheetOptions
from convoy.explaining.options import ExplainOptions
from convoy.exploring.options import ExploreOptions
from convoy.notebook import html_of
from convoy.options import ARGUMENTS, takes_options
from convoy.profiling.options import ProfileOptions
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.datasheet.summary import DataSummary
    from convoy.explaining.result import Explanation
    from convoy.exploring.onnx_runtime import OnnxRuntime
    from convoy.profiling.result import Profile
    from convoy.recipe import Recipe
    from convoy.runs import Run

__all__ = ["DataSheet", "ExplainResult", "ProfileResult", "data_sheet", "explain", "explore", "profile"]
ENGINES = ("js", "onnx")  # engines of `explore`
ARGUMENTS.update(runs="The folder, name or part of the name of each run.")


class ProfileResult(NamedTuple):
    profiles: list[Profile]  # the profiles, in the order of the models
    page: Path  # path of profile.html

    def _repr_html_(self) -> str | None:
        return html_of(self)


@takes_options
def profile(*models: Recipe | str | Path, **options: Unpack[ProfileOptions]) -> ProfileResult:
    """Profile networks layer by layer: parameters, FLOPs, memory, latency and a diagram of the architecture.

    The image shape comes from `data` or `input`, otherwise from the recipe's data set or the model's paper.

    Example: `convoy profile lenet two_conv_cnn --data mnist`

    Returns
    -------
    ProfileResult
        The profile of each network, and the path of the page.

    Examples
    --------
    >>> profiles, page = convoy.profile("lenet", "two_conv_cnn", data="mnist")
    >>> flops = [profile.flops_per_image for profile in profiles]
    """
    from convoy.api.arguments import folder_of, names_data, recipe_of, recipe_to_train, with_labels
    from convoy.files import file_name
    from convoy.profiling import measure
    from convoy.profiling.page import write_profile
    from convoy.training.machine import environment
    from convoy.training.machine.device import device_of
    from convoy.training.step import optimizers

    image, data = options["input"], options["data"]
    if not models:
        raise ValueError(_("a profile needs at least one model: a name, a net.py or a recipe"))
    if data is not None and image is not None:
        raise ValueError(
            _("expected either input or data, got input = {image!r} and data = {data!r}", image=image, data=data)
        )
    subjects: dict[str, Any] = {}
    for label, model in with_labels(models):
        if label in subjects:
            raise ValueError(_("model {label!r} is given twice", label=label))
        from_data = image is None and (data is not None or names_data(model, options))
        recipe = (recipe_to_train if from_data else recipe_of)(model, options)
        subjects[label] = measure.subject_of(
            label,
            recipe,
            image=image,
            classes=options["classes"],
            from_data=from_data,
        )
    profiles = []
    for subject in subjects.values():
        recipe = subject.recipe
        state = optimizers.state_per_parameter(recipe.optim, ema_decay=recipe.train.ema_decay)
        profiles.append(measure.profile(subject, device_of(recipe), state_per_parameter=state))
        options["callback"](profiles[-1])
    more = f"-and-{len(subjects) - 4}-more" if len(subjects) > 4 else ""
    name = file_name("-".join(list(subjects)[:4])[:100] + more)
    folder = folder_of(options, "profiles", name)
    return ProfileResult(profiles, write_profile(profiles, environment.describe(device_of(recipe), recipe), folder))


class DataSheet(NamedTuple):
    summary: DataSummary  # the numbers of the page
    page: Path  # path of data-sheet.html

    def _repr_html_(self) -> str | None:
        return html_of(self)


@takes_options
def data_sheet(name: str = "mnist", **options: Unpack[DataSheetOptions]) -> DataSheet:
    """Inspect a data set without training: samples, classes, pixel statistics, duplicate images.

    This reads the test images, but does not count as opening the test set.

    Example: `convoy data show mnist`

    Returns
    -------
    DataSheet
        The summary of the page, and its path.

    Examples
    --------
    >>> summary, page = convoy.data_sheet("digits")
    >>> print(summary.content_hash, summary.parts["train"].images)
    """
    from importlib.metadata import version

    from convoy.api.arguments import folder_of, recipe_of
    from convoy.datasheet.measure import make_sheet
    from convoy.datasheet.page import write_data_sheet
    from convoy.datasheet.summary import Provenance
    from convoy.files import file_name
    from convoy.process import command_line

    size = options["size"]
    spec = recipe_of(None, {"data": name, "set": {} if size is None else {"data.size": size}}).data
    sheet = make_sheet(spec.name, spec.size, options["progress"])
    label = f"{file_name(sheet.summary.name)}-{sheet.summary.content_hash[:12]}"
    folder = folder_of(options, "data", label)
    provenance = Provenance(version("convoy-ml"), time.strftime("%Y-%m-%d %H:%M:%S"), command_line())
    return DataSheet(sheet.summary, write_data_sheet(sheet.summary, sheet.arrays, provenance, folder))


@takes_options
def explore(*runs: Run | str | Path, **options: Unpack[ExploreOptions]) -> Path:
    """Write an offline page that runs trained networks in the browser: draw or open an image and see every activation.

    The page is one HTML file. It shows the feature maps of every layer, how each of their pixels is computed,
    attribution maps, and the errors of the network. Networks can have up to 1.2 million parameters; larger ones need
    `engine="onnx"`. Several runs must have been scored on the same images. For a run with `keep_weights`, the page also
    shows how the network learned.

    Example: `convoy explore lenet-s42`

    Returns
    -------
    Path
        The page.

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> page = convoy.explore(run)
    """
    from functools import partial

    from convoy.api.arguments import distinct_labels, find_run, newest
    from convoy.exploring.page import write_page
    from convoy.exploring.run import collect
    from convoy.files import file_name
    from convoy.reporting import EXPLORED
    from convoy.runs import Member
    from convoy.studies.compare import words
    from convoy.studies.compare.finding import conclude

    if not runs:
        raise ValueError(_("expected a run: its folder, or its name in --out"))
    runtime = _onnx_runtime(options["engine"], options["ort"])
    matches = [newest(find_run, run, options["out"]) for run in runs]
    labels = distinct_labels(matches)
    members = [Member(label, run.recipe.seed, run) for label, run in zip(labels, matches, strict=True)]
    finding = conclude(members) if len(members) > 1 else None
    effect = partial(words.sentence, finding) if finding else None
    content = collect(members, effect=effect, runtime=runtime, trust_code=options["trust_code"])
    folder = (
        matches[0].path if len(matches) == 1 else Path(options["out"]) / "explore" / file_name("-".join(labels)[:100])
    )
    return write_page(content, Path(options["save"] or folder / EXPLORED))


def _onnx_runtime(engine: str, folder: str | Path | None) -> OnnxRuntime | None:
    """Returns None for the engine js. Raises ValueError for an unknown engine, a missing package or file."""
    from convoy.exploring.onnx_runtime import DEFAULT_FOLDER, read_runtime
    from convoy.exporting import check_packages
    from convoy.registry import unknown

    if engine not in ENGINES:
        raise unknown(_("engine"), engine, ENGINES)
    if engine == "js":
        if folder is not None:
            raise ValueError(_("--ort needs --engine onnx"))
        return None
    check_packages("onnx", "--engine onnx")
    return read_runtime(Path(folder or DEFAULT_FOLDER))


class ExplainResult(NamedTuple):
    explanation: Explanation  # the numbers of the page
    page: Path  # path of explain.html

    def _repr_html_(self) -> str | None:
        return html_of(self)


@takes_options
def explain(run: Run | str | Path, **options: Unpack[ExplainOptions]) -> ExplainResult:
    """Explain a trained network: attribution maps, feature maps, dead units and confused classes.

    The page shows Grad-CAM and integrated gradients for the predicted and the true class, filters and feature maps,
    statistics of the outputs and gradients of each layer, a 2D map of the images by their features, and the most
    confused pairs of classes. By default, it explains images on which the run was scored; this does not count as
    opening the test set.

    Example: `convoy explain lenet-s42`

    Returns
    -------
    ExplainResult
        The numbers on the page, and its path. explain.json contains the numbers, explain.npz the arrays.

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> explanation, page = convoy.explain(run)
    >>> dead = {layer.name: layer.dead_units for layer in explanation.layers}
    """
    import torch

    from convoy.api.arguments import find_run, newest
    from convoy.explaining.page import write_explanation
    from convoy.explaining.run import Settings, explain_run
    from convoy.reporting import EXPLAINED
    from convoy.training.machine import environment

    images, layers = options["image"], options["layer"]
    settings = Settings(
        images=[images] if isinstance(images, str | Path) else images,  # a str is also a sequence
        samples=options["samples"],
        layers=[name.strip() for name in layers.split(",")] if isinstance(layers, str) else layers or (),
        points=options["points"],
        steps=options["steps"],
        seed=options["seed"],
        raw=options["raw"],
        trust_code=options["trust_code"],
    )
    trained = newest(find_run, run, options["out"])
    explanation, arrays = explain_run(trained, settings)
    provenance = environment.describe(torch.device("cpu"), trained.recipe)
    folder = Path(options["save"] or (trained.path / EXPLAINED).parent)
    return ExplainResult(explanation, write_explanation(explanation, arrays, provenance, folder))
