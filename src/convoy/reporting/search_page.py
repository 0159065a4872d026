"""The page of a search: the winner, then all trials."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from convoy.reporting import canvas, sections
from convoy.reporting import figures_search as search_
from convoy.reporting.content import Block, Cell, Chart, Code, Column, Page, Panel, Section, Table
from convoy.reporting.palette import Look
from convoy.reporting.quantities import listed
from convoy.reporting.reading import of_study
from convoy.runs import Study
from convoy.stats import Estimate

TILES = 12


def search_page(study: Study, folder: Path) -> Page:
    finding = study.finding
    groups = of_study(study)
    ((label, readings),) = groups.items()
    look = Look([label])
    data = readings[0].data["name"]
    curves = sections.curves(groups, look)
    page_sections = [
        Section("Trials", search_blocks(finding)),
        Section("Winner, retrained", (curves,)) if curves else None,
        sections.errors(groups, finding["part"], look, tiles=TILES),
        sections.data(groups),
        sections.setup(groups, folder, [study.table["command"]]),
    ]
    return Page(
        kicker=sections.kicker("Search", study.name, readings),
        title=f"Search over {_keys(finding)}: {label} on {data}",
        sentence=finding["sentence"],
        caveats=tuple(finding["caveats"]),
        tables=(_winner_table(finding),),
        sections=tuple(section for section in page_sections if section),
        labels=(label,),
    )


def search_blocks(finding: Mapping[str, Any]) -> tuple[Block, ...]:
    """All figures of a search, the command that trains its winner, and the table of trials."""
    numbers = search_.trial_numbers(finding)
    blocks: list[Block] = []
    if scene := search_.scene(numbers):
        blocks.append(scene)
    if heat := search_.heat_numbers(numbers):
        blocks.append(_heat_chart(heat))
    if len(numbers.paths) == 1:
        panel = Panel("", partial(search_.draw_one_key, numbers=numbers), top=0.1)
        caption = search_.trials_caption(numbers)
        blocks.append(Chart("search_key", f"Accuracy by {search_.word(numbers.paths[0])}", (panel,), caption))
    if len(numbers.paths) > 2:
        panel = Panel("", partial(search_.draw_parallel, numbers=numbers), height=3.4, left=0.3, top=0.1)
        blocks.append(Chart("parallel", "Parallel coordinates", (panel,), search_.parallel_caption(numbers)))
    if finding["importance"]:
        blocks.append(_importance_chart(finding))
    if finding["method"]["pruner"] != "halving":  # halving begins all trials at once: there is no history
        history = search_.history_numbers(numbers)
        panel = Panel("", partial(search_.draw_history, numbers=history), top=0.1)
        blocks.append(Chart("search_history", "Optimization history", (panel,), search_.history_caption(history)))
    blocks.append(_trials_table(finding))
    blocks.append(Code("convoy train winner.toml", "Train the winner (recipe in this folder)"))
    return tuple(blocks)


def _keys(finding: Mapping[str, Any]) -> str:
    words = [search_.word(axis["path"]) for axis in finding["space"]]
    return listed(words) if len(words) < 4 else f"{len(words)} keys"


def _heat_chart(heat: search_.HeatNumbers) -> Chart:
    left = 0.5 + 0.085 * max(len(search_.value_text(value)) for value in heat.rows)
    bottom = 0.5 + (
        0.085 * max(len(search_.value_text(value)) for value in heat.columns) if len(heat.columns) > 7 else 0.1
    )
    height = min((canvas.WIDTH - left) * len(heat.rows) / len(heat.columns), 4.6) + bottom
    panel = Panel("", partial(search_.draw_heat, numbers=heat), max(height, 1.6), left, bottom, top=0.05)
    title = f"Accuracy by {search_.word(heat.x)} and {search_.word(heat.y)}, heat map"
    return Chart("search_heat", title, (panel,), search_.heat_caption(heat))


def _importance_chart(finding: Mapping[str, Any]) -> Chart:
    shares = finding["importance"]
    panel = Panel(
        "", partial(search_.draw_importance, shares=shares), 0.7 + 0.5 * len(shares), left=0.15, bottom=0.6, top=0.05
    )
    return Chart(
        "importance",
        "Hyperparameter importance",
        (panel,),
        search_.importance_caption(shares, finding["importance_of"]),
    )


def _winner_table(finding: Mapping[str, Any]) -> Table:
    winner, epochs = finding["winner"], finding["epochs"]
    rows = [(path, search_.value_text(value)) for path, value in winner["params"].items()]
    seeds = len(winner["seeds"])
    scored_on = finding.get("scored_on", "validation")
    kinds = {finding["part"]: winner["accuracy"]}
    kinds |= {"validation": winner["validation_accuracy"]} if "validation_accuracy" in winner else {}
    for part, estimate in kinds.items():
        rows.append((f"{part} accuracy, {seeds} fresh seed{'s' * (seeds > 1)}", Estimate.from_json(estimate).text()))
    rows += [
        (f"{scored_on} accuracy in the search", f"{100 * winner['search_accuracy']:.2f} % (selected by it: too high)"),
        ("epochs trained", f"{epochs['trained']:,} (without early stopping: {epochs['full']:,})"),
        ("method", _method(finding["method"])),
    ]
    return Table((Column("", numeric=False), Column("")), tuple((Cell(a), Cell(b)) for a, b in rows))


def _method(method: Mapping[str, Any]) -> str:
    count = method["trials"]
    points = f"full grid of {count}" if method["grid"] else f"{count} trials by {method['sampler']}"
    return f"{points}, {'no pruner' if method['pruner'] == 'none' else method['pruner']}, seed {method['seed']}"


def _trials_table(finding: Mapping[str, Any]) -> Table:
    """Fully trained trials from best to worst, then the others by epochs trained."""
    paths = [axis["path"] for axis in finding["space"]]
    ranked = sorted(
        finding["trials"],
        key=lambda one: (one["state"] != "trained to the end", -one["epochs"], -one["accuracy"], one["number"]),
    )
    rows = tuple(
        (
            Cell(str(trial["number"]), bold=trial["number"] == finding["winner"]["number"]),
            *(Cell(search_.value_text(trial["params"][path])) for path in paths),
            Cell(f"{100 * trial['accuracy']:.2f}"),
            Cell(str(trial["epochs"])),
            Cell(trial["state"]),
            Cell(Path(trial["run"]).name if trial["run"] else "not here", link=trial["run"] or ""),
        )
        for trial in ranked
    )
    columns = (
        Column("Trial"),
        *(Column(path) for path in paths),
        Column(f"{finding.get('scored_on', 'validation').capitalize()} accuracy", "%"),
        Column("Epochs"),
        Column("State", numeric=False),
        Column("Run folder", numeric=False),
    )
    return Table(columns, rows, title="Trials", collapsed_title=f"All {len(rows)} trials, best first")
