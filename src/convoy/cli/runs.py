"""The commands of runs, of all studies, and reproduce."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from convoy import api
from convoy.cli.app import Call, command, print_json, print_path, say
from convoy.options import DEFAULT_OUT
from convoy.reporting import EXPLORED
from convoy.studies.kinds import KINDS
from convoy.studies.shards import ShardEnded
from convoy.text import gettext as _
from convoy.text import ngettext

if TYPE_CHECKING:
    from convoy.data.photo import Ink
    from convoy.runs import Run, Study

T = TypeVar("T", bound="Run | Study")


def _with_newest(call: Call, find: Callable[[str, str | Path], T]) -> tuple[Call, T]:
    """Resolves the first argument to a run or study. If several match, uses the newest."""
    from convoy.api.arguments import newest

    name, *rest = call.args
    target = newest(find, name, call.keywords.get("out", DEFAULT_OUT))
    return partial(call.func, target, *rest, **call.keywords), target


@command(api.train)
def train(call: Call, as_json: bool) -> None:
    run = call(show="stderr" if as_json else True)
    if as_json:
        from convoy.files import read_json

        status, scores, cost = (read_json(run.file(f"{name}.json")) for name in ("status", "scores", "cost"))
        scores.pop("train", None)
        print_json({"run": str(run.path), **status, "scores": scores, "cost": cost})


@command(api.test)
def test(call: Call, as_json: bool) -> None:
    from convoy.recipe.faults import limited

    tested, picture = call(), call.keywords.get("save")
    score = tested.score
    if as_json:
        print_json({**tested.as_table(), "gallery": picture})
        return
    if tested.limit is not None:
        say(limited(tested.limit))
    say(
        ngettext(
            "{weights} on {data}: test accuracy {accuracy:.2%} ({correct:,}/{images:,}); test set opened once in this "
            "workspace",
            "{weights} on {data}: test accuracy {accuracy:.2%} ({correct:,}/{images:,}); test set opened {n} times in "
            "this workspace",
            tested.openings,
            weights=Path(tested.weights),
            data=tested.data,
            accuracy=score.accuracy,
            correct=score.correct,
            images=score.n,
        )
    )
    if count := tested.trained_on:
        say(
            ngettext(
                "{n:,} of the {images:,} images is in the training set of the run",
                "{n:,} of the {images:,} images are in the training set of the run",
                count,
                images=score.n,
            )
        )
    if count := tested.photographs:
        say(
            ngettext(
                "{n} image is a photograph: inverted if dark, scaled and centred as in MNIST; --raw disables this",
                "{n} images are photographs: inverted if dark, scaled and centred as in MNIST; --raw disables this",
                count,
            )
        )
    if Path(tested.weights).is_file() and "mean" not in call.keywords:
        say(
            _(
                "normalised with the mean {mean} and the standard deviation {std} of the training images; "
                "change them with --mean and --std",
                mean=", ".join(f"{value:.4f}" for value in tested.mean),
                std=", ".join(f"{value:.4f}" for value in tested.std),
            )
        )
    if count := score.not_finite:
        say(
            _(
                "{weights}: {count:,} of {n:,} images have non-finite outputs; images with NaN count as wrong",
                weights=Path(tested.weights),
                n=score.n,
                count=count,
            )
        )
    from convoy.reporting import calibration, subgroups

    if tested.calibration is not None:
        say(calibration.sentence(tested.calibration))
    excluded = score.n if tested.calibration is None else tested.calibration.raw.excluded
    if excluded:
        say(calibration.excluded_images(tested.weights, "test", excluded, score.n))
    for line in (subgroups.lowest_class(tested.by_class), subgroups.lowest_group(tested.by_group)):
        if line:
            say(line)
    if tested.corruptions is not None:
        from convoy.reporting import corruptions

        say(corruptions.sentence(tested.corruptions))
        for line in corruptions.lines(tested.corruptions):
            print(line)
    for contradiction in tested.contradictions:
        say(str(contradiction))
    if picture is not None:
        print(picture)


@command(api.predict)
def predict(call: Call, as_json: bool) -> None:
    from convoy.api.arguments import find_run

    if not call.args[1]:
        raise ValueError(_("expected an image or a folder of images after the run"))
    call, run = _with_newest(call, find_run)
    flags = run.status.flags
    predictions = call()
    if as_json:
        rows = [{**each._asdict(), "ink": each.ink and each.ink._asdict()} for each in predictions]
        print_json({"predictions": rows, "flags": flags})
        return
    for flag in flags:
        say(flag)
    for prediction in predictions:
        print(f"{prediction.path}: {prediction.predicted} ({prediction.confidence:.1%})")
        if prediction.ink is not None:
            say(f"  {_ink(prediction.ink)}")
            if (count := prediction.ink.characters) > 1:
                say(_("  {count} characters found and read as one: crop the photo to one character", count=count))


def _ink(ink: Ink) -> str:
    width, height = ink.right - ink.left, ink.bottom - ink.top
    if ink.dark:
        return _(
            "photograph: dark ink, {width} x {height} pixels from ({x}, {y}), inverted, scaled and centred as in MNIST",
            width=width,
            height=height,
            x=ink.left,
            y=ink.top,
        )
    return _(
        "photograph: light ink, {width} x {height} pixels from ({x}, {y}), scaled and centred as in MNIST",
        width=width,
        height=height,
        x=ink.left,
        y=ink.top,
    )


@command(api.export)
def export(call: Call, as_json: bool) -> None:
    from convoy.run_contents import part_name

    files, parity = call()
    if as_json:
        print_json({"files": [str(path) for path in files], "parity": parity and asdict(parity)})
        return
    if parity is not None:
        say(
            _(
                "compared with the run on {n:,} images ({part}): the logits differ by at most "
                "{difference:.1e} of the largest logit; the predicted class is the same for {agreeing:,}",
                n=parity.images,
                part=part_name(parity.part),
                difference=parity.difference,
                agreeing=parity.agreeing,
            )
        )
        if parity.rounding is not None:
            say(_("float32 and float64 differ by {rounding:.1e} in PyTorch", rounding=parity.rounding))
    for path in files:
        print_path(path)


@command(api.push)
def push(call: Call, as_json: bool) -> None:
    address = call()
    if as_json:
        print_json({"address": address})
    else:
        print(address)


@command(api.report)
def report(call: Call, as_json: bool) -> None:
    from convoy.api.arguments import locate
    from convoy.experiments import kinds
    from convoy.record import contradictions
    from convoy.reporting import checklist
    from convoy.reporting.checklist import page as checklist_page
    from convoy.runs import Run

    call, subject = _with_newest(call, locate)
    page = call()
    runs = [subject] if isinstance(subject, Run) else [member.run for member in subject.members]
    contradicted = [each for run in runs for each in contradictions(run)]
    items = checklist.items(subject, name, kinds.about_of(subject)) if (name := call.keywords.get("checklist")) else ()
    if as_json:
        table = {"report": str(page), "contradictions": [asdict(each) for each in contradicted]}
        print_json(table | ({"checklist": [asdict(item) for item in items]} if items else {}))
        return
    if items:
        say(checklist_page.sentence(items))
    for each in contradicted:
        say(str(each))
    print_path(page)


def run_study(call: Call, as_json: bool) -> None:
    """Prints the finding, its caveats and the path of the report; after a shard, the number of finished runs."""
    try:
        study = call(show="stderr" if as_json else True)
    except ShardEnded as ended:
        print_json({"finished": ended.finished, "runs": ended.runs}) if as_json else say(str(ended))
        return
    page = study.path / "report.html" if call.func is api.reproduce else api.report(study)
    if as_json:
        print_json({"study": str(study.path), "report": str(page), "finding": study.finding_json})
        return
    from convoy.experiments import kinds

    say(kinds.sentence_of(study))
    for caveat in kinds.caveats_of(study):
        say(f"- {caveat}")
    if call.keywords.get("explore") and (explored := study.path / EXPLORED).is_file():
        print_path(explored)
    print_path(page)


for name in (*KINDS, "reproduce"):
    assert hasattr(api, name), f"missing in api/__init__.py: from convoy.studies.{name}.command import {name} as {name}"
    command(getattr(api, name))(run_study)
