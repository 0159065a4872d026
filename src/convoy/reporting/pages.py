"""Creates the page of a study and the page of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from convoy.record import PREDICTIONS, SCORES, contradictions
from convoy.reporting import EXPLAINED, EXPLORED, calibration, corruptions, sections, subgroups, tables
from convoy.reporting import figures_curves as curves_
from convoy.reporting.content import Block, Cell, Chart, Page, Panel, Section
from convoy.reporting.palette import MODELS, Look
from convoy.reporting.reading import PARTS, RunView, chance_levels, read_run
from convoy.reporting.words import accuracy_name
from convoy.run_contents import state_name
from convoy.runs import Run, Study
from convoy.stats import wilson
from convoy.text import gettext as _
from convoy.text.labels import label_text
from convoy.text.numbers import interval

TILES = 24  # images per gallery


def study_page(study: Study, folder: Path, page_of: Callable[[Study, Path], Page]) -> Page:
    """Creates the page with `page_of` (see `write_report`). Files of its runs that contradict each other are caveats.

    Raises ValueError if finding.json or a run is missing, the study has no runs, or its kind is unknown.
    """
    page = page_of(study, folder)
    contradicted = [str(each) for member in study.members for each in contradictions(member.run)]
    return replace(page, caveats=(*contradicted, *page.caveats), links=_links(folder))


def _links(folder: Path) -> tuple[Cell, ...]:
    """Links to the pages of `convoy explore` and `convoy explain`, if they have been written."""
    links = {EXPLORED: _("Look inside the network"), EXPLAINED: _("What the network responds to")}
    return tuple(Cell(text, link=link) for link, text in links.items() if (folder / link).is_file())


def run_page(run: Run, folder: Path) -> Page:
    view = read_run(run)
    groups = {view.label: [view]}
    look = Look([view.label])
    part = next((part for part in PARTS if part in view.scores), "")
    first_tables = ((tables.scores_table(view),) if view.scores else ()) + (
        (tables.cost_table(view),) if view.cost.parameters is not None else ()
    )
    return Page(
        kicker=sections.kicker(_("Run"), run.name, [view]),
        title=_("{label} on {data}, seed {seed}", label=label_text(view.label), data=view.data.name, seed=view.seed),
        sentence=_run_sentence(view, part),
        caveats=tuple(_run_caveats(view, part)),
        tables=first_tables,
        sections=sections.present(
            _training(view, look),
            _errors_of_run(view, part, look) if part else None,
            calibration.run_section(view, part) if part else None,
            corruptions.run_section(view),
            sections.data(groups),
            sections.setup(groups, folder, [view.environment.command]),
        ),
        labels=(view.label,),
        links=_links(folder),
    )


def _training(view: RunView, look: Look) -> Section | None:
    chart = sections.curves({view.label: [view]}, look)
    blocks: list[Block] = [chart] if chart else []
    steps = curves_.step_numbers(view.run.steps)
    if steps:
        panels = (
            Panel(_("Loss"), partial(curves_.draw_step_loss, numbers=steps, colour=MODELS[0][0]), height=2.9),
            Panel(_("Learning rate"), partial(curves_.draw_step_lr, numbers=steps), height=2.9),
        )
        blocks.append(Chart("steps", _("Loss and learning rate by step"), panels, curves_.steps_caption(steps)))
    return Section(_("Training"), tuple(blocks)) if blocks else None


def _errors_of_run(view: RunView, part: str, look: Look) -> Section | None:
    section = sections.errors({view.label: [view]}, part, look, tiles=TILES)
    score = view.scores[part]
    if section is None or not score.per_class:
        return section
    groups = subgroups.of_run(view.run, part)
    by_group = (subgroups.table(groups, view.recipe.data.split.group_by or ""),) if groups else ()
    return replace(section, blocks=(*section.blocks, tables.class_table(score), *by_group))


def _run_sentence(view: RunView, part: str) -> str:
    label, status = view.label, view.status
    if part:
        score = view.scores[part]
        low, high = wilson(score.correct, score.n).span
        return _(
            "{label} reaches {mean:.2f} % {accuracy} (95 % interval over the {n:,} images: {interval} %)",
            label=label,
            mean=100 * score.correct / score.n,
            accuracy=accuracy_name(part),
            n=score.n,
            interval=interval(100 * low, 100 * high, 2),
        )
    if status.state != "finished":
        reason = status.ending or _("still running")
        return _(
            "{label} is not finished ({state}: {reason}); no accuracy is reported",
            label=label,
            state=state_name(status.state),
            reason=reason,
        )
    return _("{label} was trained without held-out images; no accuracy is reported", label=label)


def _recounted(view: RunView) -> list[str]:
    if any(each.file == SCORES and each.against == PREDICTIONS for each in view.contradictions):
        return [_("This page shows the scores computed from {file}", file=PREDICTIONS)]
    return []


def _run_caveats(view: RunView, part: str) -> list[str]:
    caveats = [*map(str, view.contradictions), *_recounted(view)]
    caveats += chance_levels([view], part) if part else []
    caveats += view.run.flags
    if part:
        caveats.append(_("One seed: the interval covers the sampling of images, not the variation between seeds"))
    if part == "validation" and view.data.selection == "validation":
        caveats.append(
            _("The validation set also selected the best epoch; expect a slightly lower accuracy on new images")
        )
    openings = view.data.test_openings
    if part == "test" and openings > 1:
        caveats.append(
            _(
                "The test set was opened {n} times in this workspace, including this run; if choices were based on its "
                "results, the test accuracy is too high",
                n=openings,
            )
        )
    return caveats
