"""Answers questions of checklists from run folders. Each function answers one question of one or more lists."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

from convoy.evaluation import robustness
from convoy.recipe.faults import Aspect, Fault
from convoy.reporting.about import About
from convoy.reporting.checklist.answers import Answer, Evidence
from convoy.reporting.reading import PARTS, RunView, distinct, read_run, read_study
from convoy.run_contents import RunData, part_name
from convoy.runs import Run, Study, Workspace
from convoy.text import gettext as _
from convoy.text.lists import clauses, joined, listed
from convoy.text.numbers import plain

REPORT = "report.html"
MAX_NAMES = 4  # names in a sentence


@dataclass(frozen=True)
class Subject:
    """A run or study with its runs."""

    views: Sequence[RunView]
    folder: Path  # folder of the checklist
    about: About  # the kind of study
    commands: Sequence[str]

    @classmethod
    def of(cls, target: Run | Study, about: About) -> Subject:
        """Raises ValueError for a study without runs, and for missing and damaged files."""
        if isinstance(target, Run):
            view = read_run(target)
            return cls([view], target.path, about, [view.environment.command])
        views = [view for group in read_study(target).values() for view in group]
        return cls(views, target.path, about, [target.command])

    @property
    def first(self) -> RunView:
        return self.views[0]

    @property
    def data(self) -> RunData:
        return self.first.data

    @property
    def labels(self) -> list[str]:
        return distinct(view.label for view in self.views)

    @property
    def seeds(self) -> int:
        """The smallest number of seeds of any label."""
        return min(len({view.seed for view in self.views if view.label == label}) for label in self.labels)

    @property
    def part(self) -> str:
        """The part whose scores are reported: the first on which all runs were scored; empty if there is none."""
        return next((part for part in PARTS if all(part in view.scores for view in self.views)), "")

    @property
    def openings(self) -> int:
        """How often the test set of these runs was opened, in training and by `convoy test`."""
        names = {view.run.name for view in self.views}
        runs = self.first.run.path.resolve().parent
        counted = Workspace(runs.parent).openings().values() if runs.name == "runs" else ()
        ledger = [len(opened_by) for opened_by in counted if names.intersection(opened_by)]
        return max([*ledger, *(view.data.test_openings for view in self.views)])

    @property
    def faults(self) -> list[Fault]:
        return list(dict.fromkeys(fault for view in self.views for fault in view.recipe.protocol.faults))

    def faults_of(self, aspect: Aspect) -> list[Fault]:
        return [fault for fault in self.faults if aspect in fault.info.affects]

    def link(self, name: str) -> str:
        """A file of the first run, relative to the folder of the checklist."""
        return os.path.relpath((self.first.run.path / name).resolve(), self.folder.resolve()).replace(os.sep, "/")


def mentions_faults(*aspects: Aspect) -> Callable[[Callable[[Subject], Evidence]], Callable[[Subject], Evidence]]:
    """Adds the faults that affect one of these aspects to the text of an answer."""

    def decorate(answer: Callable[[Subject], Evidence]) -> Callable[[Subject], Evidence]:
        @wraps(answer)
        def with_faults(subject: Subject) -> Evidence:
            flags = [fault.flag for fault in subject.faults if not set(aspects).isdisjoint(fault.info.affects)]
            evidence = answer(subject)
            return evidence._replace(text=clauses([evidence.text, *flags]))

        return with_faults

    return decorate


def reproduction(subject: Subject) -> Evidence:
    unfinished = [view.run.name for view in subject.views if not view.run.finished]
    if unfinished:
        text = _("not finished: {runs}", runs=listed(unfinished, max_items=MAX_NAMES))
        return Evidence(Answer.PARTLY, text, subject.link("recipe.toml"))
    text = _(
        "run folders: {n}, each with the complete recipe and its seed, the SHA-256 of data and split, and versions; "
        "{command} repeats the training",
        n=len(subject.views),
        command=subject.commands[0],
    )
    return Evidence(Answer.YES, text, subject.link("recipe.toml"))


def data_source(subject: Subject) -> Evidence:
    name = subject.first.recipe.data.name
    text = _("data set {name}, SHA-256 {digest}", name=subject.data.name, digest=subject.data.data_hash[:16])
    if "/" in name and not name.startswith("hf:"):
        return Evidence(
            Answer.PARTLY, _("{text}; add an address where others can get it", text=text), subject.link("data.json")
        )
    return Evidence(Answer.YES, text, subject.link("data.json"))


def code(subject: Subject) -> Evidence:
    versions = listed(distinct(view.environment.convoy or "?" for view in subject.views))
    text = _("trained with Convoy {version}", version=versions)
    if any((view.run.path / "code").is_dir() for view in subject.views):
        text = _("{text}; your own code is copied to code/ in each run folder", text=text)
        return Evidence(Answer.PARTLY, _("{text}; publish it and give its address", text=text), subject.link("code"))
    return Evidence(
        Answer.PARTLY, _("{text}; publish the run folders and give their address", text=text), subject.link(".")
    )


def data_and_code(subject: Subject) -> Evidence:
    data, own = data_source(subject), code(subject)
    return Evidence(Answer.PARTLY, f"{data.text}; {own.text}", own.link)


def machine(subject: Subject) -> Evidence:
    environments = [view.environment for view in subject.views]
    seconds = [view.cost.total_seconds for view in subject.views if view.cost.total_seconds is not None]
    text = _(
        "{cpu}, device {device}, threads: {threads}, PyTorch {torch}; {seconds} s in total (runs: {n}), at "
        "most {memory} MiB; runs outside this report are not counted",
        cpu=listed(distinct(each.cpu for each in environments), max_items=MAX_NAMES),
        device=listed(distinct(each.device for each in environments)),
        threads=listed(distinct(each.threads for each in environments), "or"),
        torch=listed(distinct(each.torch for each in environments), max_items=MAX_NAMES),
        seconds=plain(sum(seconds)),
        n=len(subject.views),
        memory=plain(max((view.cost.peak_memory_bytes or 0) for view in subject.views) / 2**20),
    )
    return Evidence(Answer.YES, text, subject.link("environment.json"))


def script(subject: Subject) -> Evidence:
    return Evidence(Answer.YES, _("one command: {command}", command=subject.commands[0]), REPORT)


@mentions_faults(Aspect.TRAINING)
def settings(subject: Subject) -> Evidence:
    recipe = subject.first.recipe
    text = _(
        "optimizer {optimizer}, learning rate {lr:g}, epochs: {epochs}, batch size {batch_size}; the recipe "
        "lists all settings, in {n} sections",
        optimizer=recipe.optim.name,
        lr=recipe.optim.lr,
        epochs=recipe.train.epochs,
        batch_size=recipe.train.batch_size,
        n=len([key for key, value in recipe.as_table().items() if isinstance(value, dict)]),
    )
    return Evidence(Answer.YES, text, subject.link("recipe.toml"))


def uncertainty(subject: Subject) -> Evidence:
    if not subject.part:
        return Evidence(Answer.NO, _("no set that all runs were scored on"), REPORT)
    n = subject.first.scores[subject.part].n
    if subject.about.uncertainty:
        return Evidence(Answer.YES, subject.about.uncertainty, REPORT)
    if subject.seeds > 1:
        text = _(
            "95 % intervals over at least {n} seeds (Student's t): initial weights, order of images and dropout vary",
            n=subject.seeds,
        )
        return Evidence(Answer.YES, text, REPORT)
    text = _(
        "95 % intervals over the {n:,} images (Wilson); with one seed, the variation between training runs is not "
        "measured",
        n=n,
    )
    return Evidence(Answer.PARTLY, text, REPORT)


def tests(subject: Subject) -> Evidence:
    if len(subject.labels) < 2 or not subject.about.compares_models:
        return Evidence(Answer.NOT_APPLICABLE, _("no models are compared"), REPORT)
    if subject.seeds < 2:
        return Evidence(
            Answer.PARTLY, _("McNemar's exact test over images; a test over seeds needs several seeds"), REPORT
        )
    text = _("paired t tests over seeds and McNemar's exact test over images, each corrected by Holm's method")
    return Evidence(Answer.YES, text, REPORT)


def assets(subject: Subject) -> Evidence:
    names = [subject.data.name]
    names += [view.environment.weights.source for view in subject.views if view.environment.weights]
    text = _("name the licences and authors of: {names}", names=listed(distinct(names), max_items=MAX_NAMES))
    return Evidence(Answer.AUTHOR, text, subject.link("environment.json"))


def new_assets(subject: Subject) -> Evidence:
    text = _("convoy data show describes a data set; convoy push writes a model card")
    return Evidence(Answer.AUTHOR, text)


def limitations(subject: Subject) -> Evidence:
    flags = [flag for view in subject.views for flag in view.run.flags]
    text = _("the report lists caveats; flags of the runs: {flags}", flags=clauses(dict.fromkeys(flags)) or _("none"))
    return Evidence(Answer.AUTHOR, text, REPORT)


def outcome(subject: Subject) -> Evidence:
    counts = subject.data.per_class.get("train", ())
    text = _(
        "the class, one of {n}; images per class in the training set: {least:,} to {most:,}",
        n=len(subject.data.classes),
        least=min(counts, default=0),
        most=max(counts, default=0),
    )
    return Evidence(Answer.YES, text, subject.link("data.json"))


@mentions_faults(Aspect.LEFT_OUT)
def sample_size(subject: Subject) -> Evidence:
    counts = joined(f"{part_name(part)} {n:,}" for part, n in subject.data.counts.items() if n)
    return Evidence(Answer.YES, _("images: {counts}", counts=counts), subject.link("data.json"))


def missing(subject: Subject) -> Evidence:
    notes = clauses(subject.data.notes)
    text = _("each image has a label; notes from reading: {notes}", notes=notes or _("none"))
    return Evidence(Answer.YES, text, subject.link("data.json"))


@mentions_faults(Aspect.LEFT_OUT)
def excluded(subject: Subject) -> Evidence:
    limit = subject.data.limit
    if limit is not None:
        return Evidence(Answer.YES, _("limited to {n:,} random images", n=limit), subject.link("recipe.toml"))
    return Evidence(Answer.YES, _("Convoy left out no image"), subject.link("recipe.toml"))


@mentions_faults(Aspect.TRANSFORMATION)
def transformations(subject: Subject) -> Evidence:
    recipe = subject.first.recipe.data
    names = [str(entry["name"]) for entry in recipe.augment]
    values = _("fixed values")
    how = {"train": _("statistics of the training images"), "weights": _("statistics of the pretrained weights")}
    text = _(
        "{size} x {size} pixels; normalised with {normalise}; augmentation of the training images: {augment}",
        size=subject.data.image_size,
        normalise=how.get(str(recipe.normalise), values),
        augment=joined(names) or _("none"),
    )
    return Evidence(Answer.YES, text, subject.link("recipe.toml"))


@mentions_faults(Aspect.COST)
def models(subject: Subject) -> Evidence:
    text = _(
        "{labels}; layers, parameters and FLOPs: convoy profile", labels=listed(subject.labels, max_items=MAX_NAMES)
    )
    return Evidence(Answer.YES, text, REPORT)


@mentions_faults(Aspect.SCORING, Aspect.LEFT_OUT)
def evaluation(subject: Subject) -> Evidence:
    split = subject.first.recipe.data.split
    text = _(
        "split with seed {seed}, SHA-256 {digest}; scored on: {parts}",
        seed=split.seed,
        digest=subject.data.split_hash[:16],
        parts=joined(part_name(part) for part in PARTS if part in subject.first.scores) or _("none"),
    )
    if split.folds:
        text = _("{folds}-fold cross-validation; {text}", folds=split.folds, text=text)
    return Evidence(Answer.YES if subject.part else Answer.NO, text, subject.link("data.json"))


@mentions_faults(Aspect.SELECTION)
def selection(subject: Subject) -> Evidence:
    selected, faults = subject.data.selection, subject.faults_of(Aspect.SELECTION)
    link = subject.link("data.json")
    if selected == "test":
        return Evidence(Answer.NO, _("the test set selected the best epoch: its accuracy is too high"), link)
    if selected is None or any(fault.info.keeps_last for fault in faults):
        return Evidence(Answer.YES, _("the last epoch is used; nothing was selected"), link)
    text = _("the {part} set selected the best epoch", part=part_name(selected))
    return Evidence(Answer.NO if faults else Answer.YES, text, link)


@mentions_faults(Aspect.TRAINING)
def hyperparameters(subject: Subject) -> Evidence:
    if subject.about.hyperparameters:
        return Evidence(Answer.YES, subject.about.hyperparameters, REPORT)
    text = _("the recipe has all values; say how they were chosen")
    if keys := subject.first.recipe.chosen:
        text = _("{text}; Convoy chose for the number of images: {keys}", text=text, keys=joined(keys))
    return Evidence(Answer.PARTLY, text, subject.link("recipe.toml"))


def baselines(subject: Subject) -> Evidence:
    if len(subject.labels) < 2:
        return Evidence(Answer.NO, _("one model only; convoy compare trains others under the same conditions"), REPORT)
    return Evidence(Answer.YES, _("compared: {labels}", labels=listed(subject.labels, max_items=2 * MAX_NAMES)), REPORT)


@mentions_faults(Aspect.SEPARATION)
def separation(subject: Subject) -> Evidence:
    text = _("openings of the test set in this workspace: {n}", n=subject.openings)
    if subject.data.selection == "test" or subject.faults_of(Aspect.SEPARATION):
        return Evidence(Answer.NO, text, REPORT)
    text = _("{text}; normalisation and augmentation use training images only", text=text)
    return Evidence(Answer.YES if subject.openings <= len(subject.views) else Answer.PARTLY, text, REPORT)


def dependencies(subject: Subject) -> Evidence:
    group_by = subject.first.recipe.data.split.group_by
    if group_by:
        return Evidence(
            Answer.YES, _("the split keeps groups together: {group_by}", group_by=group_by), subject.link("recipe.toml")
        )
    text = _("convoy doctor looks for duplicates and related images across the parts; say whether images are related")
    return Evidence(Answer.AUTHOR, text, subject.link("recipe.toml"))


@mentions_faults(Aspect.SCORING)
def metrics(subject: Subject) -> Evidence:
    text = _("accuracy, macro F1, MCC, scores by class, confusion matrix, calibration; say why they suit the task")
    return Evidence(Answer.YES if subject.part else Answer.NO, text, subject.link("scores.json"))


def external_validity(subject: Subject) -> Evidence:
    results = [tested for view in subject.views if (tested := robustness.of_run(view.run)) is not None]
    if results:
        text = _(
            "mean corruption error {error:.2f} %; without corruption {clean:.2f} %",
            error=100 * results[0].mean_error.mean,
            clean=100 * (1 - results[0].clean.mean),
        )
        return Evidence(Answer.PARTLY, text, subject.link(robustness.FILE))
    text = _("measure this with convoy test RUN --corruptions, or with --data and other images")
    return Evidence(Answer.AUTHOR, text)
