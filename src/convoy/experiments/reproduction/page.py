"""The page of a reproduced experiment: published and measured numbers, and the effects of protocol faults.

It is created from the finding, profile.json (the layers of the networks) and the run folders of the study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from convoy.experiments.experiment import SIDES, Side
from convoy.experiments.measures import MEASURES
from convoy.experiments.reproduction import curves as curves_of
from convoy.experiments.reproduction import figures as figures_
from convoy.experiments.reproduction import page_tables as tables_
from convoy.experiments.reproduction import words
from convoy.experiments.reproduction.finding import ModelResult, Reproduction
from convoy.experiments.reproduction.page_sections import claims, quick_try, study_sections
from convoy.experiments.reproduction.profiles import read as read_profiles
from convoy.experiments.reproduction.words import protocol_name
from convoy.experiments.words import measure_text
from convoy.profiling import page as profile_page
from convoy.reporting import figures_curves as curves_
from convoy.reporting import sections
from convoy.reporting.content import Block, Chart, Gallery, Page, Panel, Prose, Section, Table
from convoy.reporting.figures_curves import Metrics
from convoy.reporting.palette import Look
from convoy.reporting.reading import PARTS, Groups, RunView, all_views, chance_levels, distinct
from convoy.reporting.words import machine_name
from convoy.run_contents import usual_machine
from convoy.runs import Run, Study
from convoy.text import gettext as _
from convoy.text import translated

TILES = 12
MANY_NETWORKS = 2  # with more, the layer tables are collapsed


@dataclass(frozen=True)
class Results:
    """The models of a finding and their runs."""

    models: tuple[ModelResult, ...]  # from _shown_models
    by_protocol: Mapping[Side, Mapping[str, list[RunView]]]  # protocol -> label -> runs that exist

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(model.label for model in self.models)

    @property
    def aliases(self) -> dict[str, str]:
        return {named(label, protocol): label for label in self.labels for protocol in SIDES}

    @property
    def look(self) -> Look:
        return Look(self.labels, self.aliases)

    def as_published(self, label: str) -> list[Run]:
        return [view.run for view in self.by_protocol.get("as_published", {}).get(label, ())]

    @property
    def groups(self) -> dict[str, list[RunView]]:
        """Runs by model and protocol, "lenet, corrected"."""
        return {
            named(label, protocol): [replace(view, label=named(label, protocol)) for view in by_label[label]]
            for label in self.labels
            for protocol, by_label in self.by_protocol.items()
            if label in by_label
        }


def named(label: str, protocol: Side) -> str:
    return f"{label}, {protocol_name(protocol)}"


def page(study: Study, finding: Reproduction, folder: Path) -> Page:
    """Raises ValueError if the finding names a run that is not in the study."""
    results = read_results(study, finding)
    groups = results.groups
    machines = tables_.Machines(translated(finding.hardware), _timed_on(groups))
    return Page(
        kicker=sections.kicker(_("Reproduction"), finding.experiment, all_views(groups)),
        title=translated(finding.title),
        sentence=words.sentence(finding),
        caveats=(*chance_levels(all_views(groups), "test"), *_archived(groups), *words.caveats(finding)),
        tables=tables_.result_tables(results.models, machines, finding.withheld),
        sections=sections.present(
            quick_try(finding.choice),
            _faults(finding),
            claims(finding.claims, finding.false_verdicts, words.changes(finding.options)),
            _comparison(results),
            _training(results, finding),
            *_errors(results),
            *study_sections(study, finding.parts, folder),
            _networks(study, results),
            _data(results),
            sections.setup(groups, folder, [study.command]) if groups else None,
        ),
        labels=results.labels,
        aliases=results.aliases,
    )


def read_results(study: Study, finding: Reproduction) -> Results:
    models = _shown_models(finding)
    runs = {member.run.name: member for member in study.members}
    by_protocol: dict[Side, dict[str, list[RunView]]] = {}
    for protocol in SIDES:
        for model in models:
            for name in model.side(protocol).runs:
                if name not in runs:
                    path = study.path / "finding.json"
                    raise ValueError(
                        _("{path} names the run {name!r}, which is not in study.toml", path=path, name=name)
                    )
                view = RunView(model.label, runs[name].seed, runs[name].run, finding.class_names)
                by_protocol.setdefault(protocol, {}).setdefault(model.label, []).append(view)
    return Results(models, by_protocol)


def _shown_models(finding: Reproduction) -> tuple[ModelResult, ...]:
    """Keeps only counted published values, such as parameters, of networks that a quick try skipped."""
    left_out = finding.choice.left_out if finding.choice is not None else ()
    skipped = {each.name for each in left_out if each.part == "models"}
    exact = {name for name, measure in MEASURES.items() if measure.exact}
    return tuple(
        replace(model, published={name: value for name, value in model.published.items() if name in exact})
        if model.label in skipped and not model.runs
        else model
        for model in finding.models
    )


def _timed_on(groups: Groups) -> str:
    used = [view.environment for view in all_views(groups)]
    machine = usual_machine(used)
    names = [machine_name(environment) for environment in used if environment.machine == machine]
    return names[0] if names else _("no machine, because no run was trained")


def _archived(groups: Groups) -> list[str]:
    views = [view for view in all_views(groups) if view.run.is_archived]
    if not views:
        return []
    dates = sorted({view.environment.date[: len("2026-11-29")] for view in views})
    text = _(
        "Archived runs: {n} of {total}, trained on {machines} ({dates}); other programs may have run at the same time",
        n=len(views),
        total=len(all_views(groups)),
        machines="; ".join(distinct(machine_name(view.environment) for view in views)),
        dates="\u2013".join(dict.fromkeys((dates[0], dates[-1]))),
    )
    return [text]


def _faults(finding: Reproduction) -> Section | None:
    if not finding.faults:
        return None
    charts = figures_.effect_rows(finding.faults)
    panels = tuple(chart.panel(title if len(charts) > 1 else "") for title, chart in charts.items())
    caption = figures_.effects_caption({fault.verdict for fault in finding.faults if fault.effect is not None})
    chart = Chart("faults", _("Effects"), panels, caption) if charts else None
    descriptions, effects = tables_.faults_tables(finding.faults, finding.withheld)
    return sections.section(_("Effect of each protocol fault"), descriptions, chart, effects)


def _comparison(results: Results) -> Section | None:
    """Charts of accuracy, time and parameters, and the table of costs."""
    models = results.models
    times = {name for model in models for name in model.published} & {"total_seconds"} or {"train_seconds"}
    names = ("test_accuracy", *times, "parameters")
    by_title = {measure_text(name).title: figures_.measured_rows(models, name, results.look) for name in names}
    charts = {title: chart for title, chart in by_title.items() if chart is not None}
    comparison = None
    if charts:
        panels = tuple(chart.panel(title) for title, chart in charts.items())
        caption = figures_.measured_caption([*charts.values()])
        comparison = Chart("comparison", _("Accuracy and cost"), panels, caption)
    return sections.section(_("Published and measured"), comparison, tables_.costs_table(results.groups))


def _training(results: Results, finding: Reproduction) -> Section | None:
    metrics = {
        protocol: {label: [r.metrics for r in group if r.metrics] for label, group in by_label.items()}
        for protocol, by_label in results.by_protocol.items()
    }
    if not any(runs for by_label in metrics.values() for runs in by_label.values()):
        return None
    tables = _epoch_tables(results) if len(results.labels) == 1 else []
    curves = tables_.curves_table(finding.curves)
    return sections.section(_("Training"), _curves(results, metrics), curves, _losses(results), *tables)


def _curves(results: Results, metrics: Mapping[Side, Mapping[str, Sequence[Metrics]]]) -> Chart:
    """With one model, draws all parts in the same axes to show overfitting; with several, a row of panels per part."""
    single = len(results.labels) == 1
    published = [
        (curve, curves_of.band(curve, results.as_published(model.label)))
        for model in results.models
        for curve in curves_of.published_curves(model.label, model.published)
    ]
    loss, accuracy = (figures_.curves(metrics, quantity, published) for quantity in ("loss", "accuracy"))
    roles = [role for role in figures_.ROLES if any(line.role == role for line in accuracy.lines)]
    panels = [
        Panel(
            _panel_title(curves.quantity, "" if single else group[0]),
            partial(figures_.draw_curves, curves=curves, look=results.look, roles=group),
        )
        for group in ([roles] if single else [[role] for role in roles])
        for curves in (loss, accuracy)
    ]
    styles = [_("dashed: as published, solid: corrected")] if len(results.by_protocol) == 2 else []
    styles += [_("thin: training, thick: held out")] if single else []
    styles += [_("crosses: test")] if single and "test" in roles else []
    if any(line.role == "held out" and line.curve.part == "test" for line in accuracy.lines):
        styles.append(_("held out: validation, or the test set if a fault selects on it"))
    legend = tuple(label for label in results.labels if any(line.curve.label == label for line in accuracy.lines))
    title, caption = _("Loss and accuracy by epoch"), figures_.curves_caption(accuracy)
    return Chart("training_curve", title, tuple(panels), caption, legend=legend, line_legend="; ".join(styles))


def _panel_title(quantity: str, role: str) -> str:
    title = _("Loss") if quantity == "loss" else _("Accuracy")
    roles = {"training": _("Training"), "held out": _("Held out"), "test": _("Test")}
    return f"{roles[role]}: {title.lower()}" if role else title


def _losses(results: Results) -> Chart | None:
    """Draws the smoothed loss by step, one panel per protocol."""
    panels, labels, captions = [], [], {}
    for protocol, by_label in results.by_protocol.items():
        runs = {label: [(view.run.steps, view.metrics) for view in group] for label, group in by_label.items()}
        numbers = curves_.loss_numbers(runs, {})
        if numbers is not None:
            draw = partial(curves_.draw_losses, numbers=numbers, axis="step", look=results.look)
            panels.append(Panel(protocol_name(protocol).capitalize(), draw))
            captions[protocol] = curves_.losses_caption(numbers, "step")
            labels += [line.label for line in numbers.lines]
    if not panels:
        return None
    caption = next(iter(captions.values()))
    if len(set(captions.values())) > 1:
        caption = " ".join(f"{protocol_name(protocol).capitalize()}: {text}" for protocol, text in captions.items())
    legend = tuple(dict.fromkeys(labels))
    return Chart("training_loss", _("Training loss by step, smoothed"), tuple(panels), caption, legend=legend)


def _epoch_tables(results: Results) -> list[Table | None]:
    published, tables = results.models[0].published, []
    for protocol, by_label in results.by_protocol.items():
        first = by_label[results.labels[0]][0]
        title = _("Epochs, {protocol} (seed {seed})", protocol=protocol_name(protocol), seed=first.seed)
        tables.append(tables_.epochs_table(first, published if protocol == "as_published" else {}, title))
    return tables


def _errors(results: Results) -> list[Section | None]:
    """Shows confusion matrices and predictions, one section per protocol; the second is appended to figure names."""
    error_sections: list[Section | None] = []
    views = all_views(results.groups)
    part = next((part for part in PARTS if any(part in view.scores for view in views)), "")
    for protocol, by_label in results.by_protocol.items() if part else ():
        section = sections.errors(by_label, part, results.look, tiles=TILES * (1 + (len(by_label) == 1)))
        if section is None:
            continue
        blocks: list[Block] = []
        for block in section.blocks:
            if isinstance(block, Gallery):
                origin = _("Predicted with the weights in best.safetensors.")
                block = replace(block, caption=f"{block.caption} {origin}")
            if isinstance(block, Chart | Gallery) and error_sections:
                block = replace(block, name=f"{block.name}-{protocol}")
            if not (isinstance(block, Gallery) and block.name.startswith("hardest")):
                blocks.append(block)
        if not any(isinstance(block, Gallery) for block in blocks):
            blocks.append(Prose(_("No images of predictions, because archived runs do not contain them.")))
        title = section.title if len(results.by_protocol) == 1 else f"{section.title}: {protocol_name(protocol)}"
        error_sections.append(Section(title, tuple(blocks)))
    return error_sections


def _networks(study: Study, results: Results) -> Section | None:
    """Architectures and layers from profile.json."""
    path = study.path / "profile.json"
    if not path.is_file():
        return None
    stored = read_profiles(path.read_bytes())
    if stored is None:
        raise ValueError(_("{path} is damaged", path=path))
    profiles = stored.profiles
    comparison = profile_page.cost_comparison(profiles, results.look).blocks if len(profiles) > 1 else ()
    tables = [table for profile in profiles for table in profile_page.layer_tables(profile, named=True)]
    if len(profiles) > MANY_NETWORKS:
        titles = [table.collapsed_title or _("{n} layers", n=len(table.rows) - 1) for table in tables]
        tables = [replace(table, collapsed_title=title) for table, title in zip(tables, titles, strict=True)]
    flaws = [(profile.label, flaw) for profile in profiles for flaw in profile.flaws]
    flaw_list = "; ".join(_("{label}: {flaw}", label=label, flaw=flaw) for label, flaw in flaws)
    first = [Prose(_("Flaws of the published networks: {flaws}.", flaws=flaw_list))] if flaws else []
    if comparison and stored.measured_on:
        first.append(Prose(_("Latencies were measured on {machine}.", machine=stored.measured_on)))
    return Section(_("Networks"), (*first, *comparison, *profile_page.pictures(profiles), *tables))


def _data(results: Results) -> Section | None:
    """With many groups, shows the filters of one protocol, so that all models fit."""
    groups = results.groups
    if not groups:
        return None
    if len(groups) > sections.MAX_STRIPS:
        protocol, by_label = next(iter(results.by_protocol.items()))
        groups = {named(label, protocol): groups[named(label, protocol)] for label in by_label}
    section = sections.data(groups)
    if any(isinstance(block, Gallery) for block in section.blocks):
        return section
    note = _("No sample images or first-layer filters, because archived runs do not contain them.")
    return Section(section.title, (Prose(note), *section.blocks))
