"""The page of a search: the winner, then all trials."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from convoy.reporting import canvas, sections
from convoy.reporting.content import Block, Cell, Chart, Code, Column, Page, Panel, Section, Table
from convoy.reporting.palette import Look
from convoy.reporting.quantities import listed
from convoy.reporting.reading import of_study
from convoy.runs import Study
from convoy.studies.search import figures, words
from convoy.studies.search.finding import Importance, Pruner, SearchFinding, State, Trial

TILES = 12


def page(study: Study, finding: SearchFinding, folder: Path) -> Page:
    groups = of_study(study)
    ((label, readings),) = groups.items()
    look = Look([label])
    curves = sections.curves(groups, look)
    page_sections = [
        Section("Trials", search_blocks(finding)),
        Section("Winner, retrained", (curves,)) if curves else None,
        sections.errors(groups, finding.part, look, tiles=TILES),
        sections.data(groups),
        sections.setup(groups, folder, [study.table["command"]]),
    ]
    keys = [figures.word(path) for path in finding.paths]
    return Page(
        kicker=sections.kicker("Search", study.name, readings),
        title=f"Search over {listed(keys) if len(keys) < 4 else f'{len(keys)} keys'}: {label} on {finding.data}",
        sentence=words.sentence(finding),
        caveats=tuple(words.caveats(finding)),
        tables=(_winner_table(finding),),
        sections=tuple(section for section in page_sections if section),
        labels=(label,),
    )


def search_blocks(finding: SearchFinding) -> tuple[Block, ...]:
    """All figures of a search, the command that trains its winner, and the table of trials."""
    blocks: list[Block] = []
    if scene := figures.scene(finding):
        blocks.append(scene)
    if heat := figures.heat_numbers(finding):
        blocks.append(_heat_chart(heat))
    if len(finding.paths) == 1:
        panel = Panel("", partial(figures.draw_one_key, finding=finding), top=0.1)
        title, caption = f"Accuracy by {figures.word(finding.paths[0])}", figures.trials_caption(finding)
        blocks.append(Chart("search_key", title, (panel,), caption))
    if len(finding.paths) > 2:
        panel = Panel("", partial(figures.draw_parallel, finding=finding), height=3.4, left=0.3, top=0.1)
        blocks.append(Chart("parallel", "Parallel coordinates", (panel,), figures.parallel_caption(finding)))
    if finding.importance:
        blocks.append(_importance_chart(finding.importance))
    if finding.method.pruner is not Pruner.HALVING:  # halving begins all trials at once: there is no history
        panel = Panel("", partial(figures.draw_history, finding=finding), top=0.1)
        blocks.append(Chart("search_history", "Optimization history", (panel,), figures.history_caption(finding)))
    blocks.append(_trials_table(finding))
    blocks.append(Code("convoy train winner.toml", "Train the winner (recipe in this folder)"))
    return tuple(blocks)


def _heat_chart(heat: figures.HeatNumbers) -> Chart:
    left = 0.5 + 0.085 * max(len(figures.value_text(value)) for value in heat.rows)
    bottom = 0.5 + (
        0.085 * max(len(figures.value_text(value)) for value in heat.columns) if len(heat.columns) > 7 else 0.1
    )
    height = min((canvas.WIDTH - left) * len(heat.rows) / len(heat.columns), 4.6) + bottom
    panel = Panel("", partial(figures.draw_heat, numbers=heat), max(height, 1.6), left, bottom, top=0.05)
    title = f"Accuracy by {figures.word(heat.x)} and {figures.word(heat.y)}, heat map"
    return Chart("search_heat", title, (panel,), figures.heat_caption(heat))


def _importance_chart(importance: Importance) -> Chart:
    panel = figures.importance_rows(importance).panel()
    return Chart("importance", "Hyperparameter importance", (panel,), figures.importance_caption(importance))


def _winner_table(finding: SearchFinding) -> Table:
    best, scored_on, seeds = finding.best, finding.method.scored_on, len(finding.seeds)
    rows = [(path, figures.value_text(value)) for path, value in best.params.items()]
    for part, estimate in {finding.part: finding.accuracy, scored_on: finding.scored_accuracy}.items():
        rows.append((f"{part} accuracy, {seeds} fresh seed{'s' * (seeds > 1)}", estimate.text()))
    rows += [
        (f"{scored_on} accuracy in the search", f"{100 * best.accuracy:.2f} % (selected by it: too high)"),
        ("epochs trained", f"{finding.epochs_trained:,} (without early stopping: {finding.epochs_asked:,})"),
        ("method", words.method_text(finding)),
    ]
    return Table((Column("", numeric=False), Column("")), tuple((Cell(a), Cell(b)) for a, b in rows))


def _trials_table(finding: SearchFinding) -> Table:
    """Fully trained trials from best to worst, then the others by epochs trained."""

    def rank(trial: Trial) -> tuple[bool, int, float, int]:
        return trial.state is not State.FINISHED, -trial.epochs, -trial.accuracy, trial.number

    rows = tuple(
        (
            Cell(str(trial.number), bold=trial.number == finding.winner),
            *(Cell(figures.value_text(trial.params[path])) for path in finding.paths),
            Cell(f"{100 * trial.accuracy:.2f}"),
            Cell(str(trial.epochs)),
            Cell(words.STATES[trial.state]),
            Cell(Path(trial.run).name if trial.run else "not here", link=trial.run or ""),
        )
        for trial in sorted(finding.trials, key=rank)
    )
    columns = (
        Column("Trial"),
        *map(Column, finding.paths),
        Column(f"{finding.method.scored_on.capitalize()} accuracy", "%"),
        Column("Epochs"),
        Column("State", numeric=False),
        Column("Run folder", numeric=False),
    )
    return Table(columns, rows, title="Trials", collapsed_title=f"All {len(rows)} trials, best first")
