"""convoy list: models, data sets, recipes, experiments, runs, studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from convoy.cli.app import Json, Out, app, print_json
from convoy.options import DEFAULT_OUT
from convoy.text import gettext as _

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
    rows = _ROWS[kind](out)
    if as_json:
        print_json({kind: rows})
        return
    if not rows:
        print(_("no {kind} in {out}", kind=kind, out=out))
    rows = [{key: value for key, value in row.items() if key not in _TOO_LONG_FOR_A_LINE} for row in rows]
    widths = {key: max(len(str(row[key])) for row in rows) for key in rows[0]} if rows else {}
    for row in rows:
        print("  ".join(f"{'' if value is None else value!s:<{widths[key]}}" for key, value in row.items()).rstrip())


def _model_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.models import MODELS

    return [{"name": name, "parameters": MODELS[name].parameters, "summary": MODELS[name].summary} for name in MODELS]


def _data_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.data import DATA_SETS, whereabouts

    return [
        {
            "name": name,
            "where": whereabouts(name),
            "images": " + ".join(f"{count:,}" for count in entry.counts),
            "summary": entry.summary,
            "classes": entry.classes,
            "licence": entry.licence,
            "citation": entry.citation,
            "homepage": entry.homepage,
        }
        for name, entry in ((name, DATA_SETS[name]) for name in DATA_SETS)
    ]


def _recipe_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.recipe import Recipe, builtin_names

    return [{"name": name, "about": Recipe.load(name).about} for name in builtin_names()]


def _experiment_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.experiments import experiment

    experiments = [experiment.load(name) for name in experiment.names()]
    return [{"name": each.name, "data": each.data, "title": each.title} for each in experiments]


def _run_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.runs import Workspace

    return [_run_row(run) for run in Workspace(out).runs()]


def _run_row(run: Run) -> dict[str, Any]:
    """A damaged run gets a row, too."""
    row: dict[str, Any] = {"name": run.name, "state": "damaged", **dict.fromkeys(_PARTS), "flags": None}
    try:
        scores = {part: f"{score.accuracy:.2%}" for part, score in run.scores.items()}
        return row | {"state": run.state, **scores, "flags": "; ".join(run.status.flags)}
    except ValueError as error:
        return row | {"flags": str(error)}


def _study_rows(out: Path) -> list[dict[str, Any]]:
    from convoy.runs import Workspace

    return [_study_row(study) for study in Workspace(out).studies()]


def _study_row(study: Study) -> dict[str, Any]:
    """A damaged study gets a row, too."""
    from convoy.experiments import kinds

    row: dict[str, Any] = {"name": study.name, "kind": None, "sentence": _("not finished: run its command again")}
    try:
        row["kind"] = study.table.get("kind")
        if not study.has_found:
            return row
        return row | {"sentence": kinds.sentence_of(study)}
    except ValueError as error:
        return row | {"sentence": str(error)}


_PARTS = ("validation", "fold", "test")
_TOO_LONG_FOR_A_LINE = ("classes", "licence", "citation", "homepage")
_ROWS = {
    "models": _model_rows,
    "data": _data_rows,
    "recipes": _recipe_rows,
    "experiments": _experiment_rows,
    "runs": _run_rows,
    "studies": _study_rows,
}
