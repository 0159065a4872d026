"""The page of a search: the winner, then all trials."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from convoy.reporting import canvas, sections, tables
from convoy.reporting.content import Cell, Chart, Code, Field, Page, Panel, Scene3D, Section, Table, TextField, table_of
from convoy.reporting.palette import Look
from convoy.reporting.reading import read_study
from convoy.reporting.words import accuracy_title
from convoy.runs import Study
from convoy.studies.search import figures, words
from convoy.studies.search.finding import Pruner, SearchFinding, State, Trial
from convoy.text import gettext as _
from convoy.text.labels import label_text
from convoy.text.lists import listed

TILES = 12
LETTER = 0.085  # inches


def page(study: Study, finding: SearchFinding, folder: Path) -> Page:
    groups = read_study(study)
    ((label, views),) = groups.items()
    look = Look([label])
    names = [words.key_name(path) for path in finding.paths]
    keys = listed(names) if len(names) < 4 else _("{n} keys", n=len(names))
    return Page(
        kicker=sections.kicker(_("Search"), study.name, views),
        title=_("Search over {keys}: {label} on {data}", keys=keys, label=label_text(label), data=finding.data),
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(_winner_table(finding),),
        sections=sections.present(
            trials(finding),
            sections.section(_("Winner, retrained"), sections.curves(groups, look)),
            sections.errors(groups, finding.part, look, tiles=TILES),
            sections.data(groups),
            sections.setup(groups, folder, [study.command]),
        ),
        labels=(label,),
    )


def trials(finding: SearchFinding) -> Section:
    """Creates all figures of a search, the table of trials, and the command that trains the winner."""
    scene, heat = figures.scene(finding), figures.heat_numbers(finding)
    charts: list[Chart | Scene3D] = [scene] if scene else []
    charts += [_heat_chart(heat, words.trials_caption(finding, "search_heat"))] if heat else []
    if len(finding.paths) > 2:
        panel = Panel("", partial(figures.draw_parallel, finding=finding), height=3.4, left=0.3, top=0.1)
        title = _("Parallel coordinates of all keys")
        charts.append(Chart("parallel", title, (panel,), words.trials_caption(finding, "parallel")))
    if not (scene or heat):
        panels = tuple(_key_panel(finding, path) for path in finding.paths)
        charts.append(Chart("search_keys", _("Accuracy by key"), panels, words.trials_caption(finding, "search_keys")))
    if finding.importance:
        panel = figures.importance_rows(finding.importance).panel()
        caption = words.importance_caption(finding.importance)
        charts.append(Chart("importance", _("Hyperparameter importance"), (panel,), caption))
    if finding.method.pruner is not Pruner.HALVING:  # halving starts all trials at once
        panel = Panel("", partial(figures.draw_history, finding=finding), top=0.1)
        charts.append(
            Chart(
                "search_history", _("Optimization history"), (panel,), words.trials_caption(finding, "search_history")
            )
        )
    command = Code("convoy train winner.toml", _("Train the winner (recipe in this folder)"))
    return Section(_("Trials"), (*charts, _trials_table(finding), command))


def _key_panel(finding: SearchFinding, path: str) -> Panel:
    values = figures.in_order(finding.column(path))
    is_tall = figures.is_rotated(values) and not figures.is_numeric(values)
    room = LETTER * max(map(len, figures.tick_names(values))) if is_tall else 0.0
    draw = partial(figures.draw_key, finding=finding, path=path)
    return Panel("", draw, height=3.2 + room, bottom=0.6 + room, top=0.1)


def _heat_chart(heat: figures.HeatNumbers, caption: str) -> Chart:
    longest_row, longest_column = (max(map(len, figures.tick_names(values))) for values in (heat.rows, heat.columns))
    left = 0.5 + LETTER * longest_row
    bottom = 0.5 + (LETTER * longest_column if figures.is_rotated(heat.columns) else 0.1)
    height = min((canvas.WIDTH - left) * len(heat.rows) / len(heat.columns), 4.6) + bottom
    panel = Panel("", partial(figures.draw_heat, numbers=heat), max(height, 1.6), left, bottom, top=0.05)
    title = _("Accuracy (%) by {x} and {y}, heat map", x=words.key_name(heat.x), y=words.key_name(heat.y))
    return Chart("search_heat", title, (panel,), caption)


def _winner_table(finding: SearchFinding) -> Table:
    best, scored_on = finding.best, finding.method.scored_on
    rows = [(path, words.value_text(value)) for path, value in best.params.items()]
    for part, estimate in {finding.part: finding.accuracy, scored_on: finding.scored_accuracy}.items():
        name = _("{accuracy}, {seeds}", accuracy=accuracy_title(part), seeds=words.fresh_seeds(finding))
        rows.append((name, estimate.text()))
    selected = _("{percent:.2f} % (used for the selection, so too high)", percent=100 * best.accuracy)
    epochs = _("{n:,} (without pruning: {all:,})", n=finding.epochs_trained, all=finding.epochs_requested)
    rows += [
        (_("{accuracy} in the search", accuracy=accuracy_title(scored_on)), selected),
        (_("Epochs trained"), epochs),
        (_("Method"), words.method_text(finding)),
    ]
    return tables.properties_table("", rows)


def _trials_table(finding: SearchFinding) -> Table:
    """Lists fully trained trials from best to worst, then the others by epochs trained."""

    def rank(trial: Trial) -> tuple[bool, int, float, int]:
        return trial.state is not State.FINISHED, -trial.epochs, -trial.accuracy, trial.number

    def value(path: str) -> Field[Trial]:
        return Field(path, lambda trial: words.value_text(trial.params[path]))

    def accuracy(trial: Trial) -> str:
        return "×" if trial.state is State.DIVERGED else f"{100 * trial.accuracy:.2f}"

    def run(trial: Trial) -> Cell:
        return Cell(Path(trial.run).name, link=trial.run) if trial.run else Cell(_("not on this machine"))

    fields: list[Field[Trial]] = [
        Field(_("Trial"), lambda trial: Cell(str(trial.number), bold=trial.number == finding.winner)),
        *map(value, finding.paths),
        Field(accuracy_title(finding.method.scored_on), accuracy, "%"),
        Field(_("Epochs"), lambda trial: str(trial.epochs)),
        TextField(_("State"), lambda trial: words.state_name(trial.state)),
        TextField(_("Run folder"), run),
    ]
    title = _("All {n} trials, best first", n=len(finding.trials))
    return table_of(fields, sorted(finding.trials, key=rank), title=_("Trials"), collapsed_title=title)
