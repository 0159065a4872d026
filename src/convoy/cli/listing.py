"""convoy list: models, data sets, recipes, experiments, runs, studies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from convoy.cli.app import Json, Out, app, print_json, print_table
from convoy.cli.problems import file_sentence
from convoy.options import DEFAULT_OUT
from convoy.text import gettext as _
from convoy.text import translated
from convoy.text.wrap import shortened, typeset

if TYPE_CHECKING:
    from convoy.runs import Run, Study

Kind = Literal["models", "data", "recipes", "experiments", "runs", "studies"]


@app.command(name="list")
def list_things(kind: Kind, *, out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """List models, data sets, recipes, experiments, runs or studies. --json adds the licence and source of a data set.

    Example: `convoy list models`

    Parameters
    ----------
    kind
        What to list.
    """
    rows = [dict(zip(COLUMNS[kind], row, strict=True)) for row in _rows(kind, out, in_full=as_json)]
    if as_json:
        print_json({kind: rows})
        return
    if not rows:
        print(_("no {kind} in {out}", kind=_("runs") if kind == "runs" else _("studies"), out=out))
        return
    columns = [name for name in COLUMNS[kind] if name not in TOO_LONG_FOR_A_LINE and any(row[name] for row in rows)]
    texts = [name for name in columns if name not in ("parameters", "epochs", "date", *PARTS)]
    titles = _titles()
    print_table(
        [{titles[name]: _cell(name, row[name]) for name in columns} for row in rows],
        [titles[name] for name in texts],
    )


PARTS = ("test", "validation", "fold")
MAX_WARNING_LENGTH = 40  # columns in a table
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "models": ("name", "parameters", "summary"),
    "data": ("name", "where", "images", "summary", "classes", "licence", "citation", "homepage"),
    "recipes": ("name", "short_name", "about"),
    "experiments": ("name", "data", "title"),
    "runs": ("name", "data", "epochs", "date", *PARTS, "state", "warnings"),
    "studies": ("name", "kind", "sentence"),
}
TOO_LONG_FOR_A_LINE = ("classes", "licence", "citation", "homepage")


def _cell(column: str, value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if column == "state":
        from convoy.run_contents import state_name

        return state_name(str(value))
    if column == "where":
        return {"packaged": _("packaged"), "here": _("here"), "download": _("download")}[str(value)]
    text = "" if value is None else str(value)
    return typeset(text) if column in ("warnings", "sentence") else text


def _titles() -> dict[str, str]:
    return {
        "name": _("name"),
        "parameters": _("parameters"),
        "summary": _("summary"),
        "where": _("where"),
        "images": _("images"),
        "short_name": _("short name"),
        "about": _("about"),
        "data": _("data"),
        "title": _("title"),
        "epochs": _("epochs"),
        "date": _("date"),
        "test": _("test"),
        "validation": _("validation"),
        "fold": _("fold"),
        "state": _("state"),
        "warnings": _("warnings"),
        "kind": _("kind"),
        "sentence": _("sentence"),
    }


def _rows(kind: Kind, out: Path, *, in_full: bool) -> Iterator[tuple[object, ...]]:
    """Yields rows with the values of COLUMNS. Warnings of a run are shortened unless `in_full`."""
    match kind:
        case "models":
            from convoy.models import MODELS

            for name in MODELS:
                yield name, MODELS[name].parameters, translated(MODELS[name].summary)
        case "data":
            from convoy.data import DATA_SETS, availability

            for name in DATA_SETS:
                entry = DATA_SETS[name]
                images = " + ".join(f"{count:,}" for count in entry.counts)
                details = entry.licence, entry.citation, entry.homepage
                yield name, availability(name), images, translated(entry.summary), entry.classes, *details
        case "recipes":
            from convoy.recipe import Recipe
            from convoy.recipe.files import builtin_names

            for name in builtin_names():
                yield name, _short_name(name), translated(Recipe.load(name).about)
        case "experiments":
            from convoy.experiments import experiment

            for each in map(experiment.load, experiment.names()):
                yield each.name, each.data, translated(each.title)
        case "runs":
            from convoy.runs import Workspace

            for run in Workspace(out).runs():
                yield _run_row(run, in_full=in_full)
        case "studies":
            from convoy.runs import Workspace

            yield from map(_study_row, Workspace(out).studies())


def _short_name(recipe: str) -> str | None:
    """Returns the last part of the name if it is unique."""
    from convoy.api.arguments import full_name

    last = recipe.rpartition("/")[2]
    try:
        return last if full_name(last) == recipe else None
    except ValueError:  # several recipes have it
        return None


def _run_row(run: Run, *, in_full: bool) -> tuple[object, ...]:
    """Returns the row of a run, which may be damaged."""
    from convoy.api.arguments import data_of, date_of

    try:
        if (first := next(run.contradicted_scores(), None)) is not None:
            raise ValueError(first[2])
        accuracies = {part: f"{score.accuracy:.2%}" for part, score in run.scores.items()}
        warnings = run.status.flags
        if not in_full:
            warnings = [shortened(text, MAX_WARNING_LENGTH) for text in warnings]
        details = data_of(run), run.recipe.train.epochs, date_of(run)
        return run.name, *details, *(accuracies.get(part) for part in PARTS), run.state, "; ".join(warnings)
    except (OSError, ValueError) as error:
        reason = file_sentence(error) if isinstance(error, OSError) else str(error)
        return run.name, None, None, date_of(run), *(None for part in PARTS), "damaged", reason


def _study_row(study: Study) -> tuple[object, ...]:
    """Returns the row of a study, which may be damaged."""
    from convoy.experiments import kinds

    kind: object = None
    try:
        kind = study.contents.kind
        sentence = kinds.sentence_of(study) if study.has_finding else _("not finished: run its command again")
    except ValueError as error:
        sentence = str(error)
    return study.name, kind, sentence
