"""The page of a reproduced experiment: what was published, what was measured, and what the faults did.

All comes from the study's finding.json, its profile.json (the networks, layer by layer) and its run folders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from convoy.files import read_json
from convoy.prediction import verdicts_withheld, withheld_from
from convoy.reporting import figures_losses as losses_
from convoy.reporting import figures_protocols as protocols_
from convoy.reporting import figures_reproduction as figures_
from convoy.reporting import profile_page, sections
from convoy.reporting import reproduction_tables as tables_
from convoy.reporting.claims_section import claims
from convoy.reporting.content import Block, Chart, Gallery, Page, Panel, Prose, Section, Table, clean
from convoy.reporting.palette import Look
from convoy.reporting.quick_section import quick_try, without_untrained
from convoy.reporting.reading import PARTS, Groups, Reading, chance_levels, distinct, every
from convoy.reporting.reproduction_parts import part_sections
from convoy.reporting.reproduction_tables import PROTOCOLS
from convoy.runs import Study

TILES = 12
MANY_NETWORKS = 2  # of more, the layer tables stay shut until they are opened


@dataclass(frozen=True)
class Reproduction:
    """A finding and the runs that it names."""

    finding: Mapping[str, Any]
    by_protocol: Mapping[str, Mapping[str, list[Reading]]]  # protocol to label to runs, only those that are there

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(model["label"] for model in self.finding["models"])

    @property
    def alike(self) -> dict[str, str]:
        return {named(label, protocol): label for label in self.labels for protocol in PROTOCOLS}

    @property
    def look(self) -> Look:
        return Look(self.labels, self.alike)

    @property
    def groups(self) -> dict[str, list[Reading]]:
        """Every model under the name that tells its protocol."""
        return {
            named(label, protocol): [replace(reading, label=named(label, protocol)) for reading in by_label[label]]
            for label in self.labels
            for protocol, by_label in self.by_protocol.items()
            if label in by_label
        }


def named(label: str, protocol: str) -> str:
    return f"{label}, {PROTOCOLS[protocol]}"


def reproduction_page(study: Study, folder: Path, page_of: Callable[[Study, Path], Page]) -> Page:
    """`page_of` makes the page of a part, a study of another kind.

    Raises ValueError for a finding that names a run which the study does not hold.
    """
    found = read_reproduction(study)
    finding, groups = found.finding, found.groups
    shown: list[Section | None] = [
        quick_try(finding.get("quick_try")),
        _faults(finding),
        claims(finding["claims"]),
        _comparison(found),
        _training(found),
        *_errors(found),
        *part_sections(study, finding["parts"], folder, page_of),
        _networks(study, found),
        _data(found),
        _made(study, groups, folder),
    ]
    return Page(
        kicker=sections.kicker("Reproduction", finding["experiment"], every(groups)),
        title=clean(finding["title"]),
        sentence=clean(finding["sentence"]),
        caveats=(
            *chance_levels(every(groups), "test"),
            *(clean(caveat) for caveat in (*finding["missing"], *finding["caveats"])),
        ),
        tables=tables_.result_tables(
            finding["models"], clean(finding.get("hardware") or ""), _machine(groups), withheld_from(finding)
        ),
        sections=tuple(section for section in shown if section),
        labels=found.labels,
        alike=found.alike,
    )


def read_reproduction(study: Study) -> Reproduction:
    finding = study.finding
    models = [
        {**model, "label": clean(model["label"])}
        for model in without_untrained(finding["models"], finding.get("quick_try"))
    ]
    runs = {member.run.name: member for member in study.members}
    by_protocol: dict[str, dict[str, list[Reading]]] = {}
    for model in models:
        for protocol in PROTOCOLS:
            for name in model["runs"].get(protocol) or ():
                if name not in runs:
                    raise ValueError(f"{study.path / 'finding.json'} names the run {name!r}, which study.toml does not")
                reading = Reading(model["label"], runs[name].seed, runs[name].run, finding.get("class_names", {}))
                by_protocol.setdefault(protocol, {}).setdefault(model["label"], []).append(reading)
    ordered = {protocol: by_protocol[protocol] for protocol in PROTOCOLS if protocol in by_protocol}
    return Reproduction({**finding, "models": models}, ordered)


def _machine(groups: Groups) -> str:
    environments = [reading.environment for reading in every(groups)]
    told = distinct(
        f"{table['cpu'] if table.get('device', 'cpu') == 'cpu' else table['device']}"
        f", {table['threads']} thread{'s' if table['threads'] != 1 else ''}"
        for table in environments
    )
    return clean("; ".join(told)) if told else "nothing: no run was trained"


def _faults(finding: Mapping[str, Any]) -> Section | None:
    faults = finding["faults"]
    if not faults:
        return None
    blocks: list[Block] = []
    withheld = verdicts_withheld(finding)
    numbers = figures_.effect_numbers(faults, quick=withheld is not None)
    if numbers:
        panels = tuple(
            Panel(
                each.measure.title if len(numbers) > 1 else "",
                partial(figures_.draw_effects, numbers=each),
                height=0.75 + figures_.EFFECT_INCHES * (len(each.effects) + 0.3) + 0.3 * (len(numbers) > 1),
                left=0.15,
                top=0.35 if len(numbers) > 1 else 0.05,
            )
            for each in numbers
        )
        blocks.append(Chart("faults", "Effect of each fault", panels, figures_.effects_caption(numbers)))
    what, prices = tables_.faults_tables(faults, withheld)
    return Section("The price of each fault", (what, *blocks, prices))


def _comparison(found: Reproduction) -> Section | None:
    """Bars of accuracy, time and parameters, and all costs."""
    models = found.finding["models"]
    times = {name for model in models for name in model["published"]} & {"total_seconds"} or {"train_seconds"}
    names = ("test_accuracy", *times, "parameters")
    numbers = [each for name in names if (each := figures_.measured_numbers(models, name))]
    blocks: list[Block] = []
    if numbers:
        height = 0.65 + figures_.ROW_INCHES * (len(models) + 0.3)
        panels = tuple(
            Panel(
                each.measure.title, partial(figures_.draw_measured, numbers=each, look=found.look),
                height=height + 0.3, left=0.15, top=0.4,
            )
            for each in numbers
        )  # fmt: skip
        blocks.append(Chart("comparison", "Published and measured", panels, figures_.measured_caption(numbers)))
    costs = tables_.costs_table(found.groups)
    blocks += [costs] if costs else []
    return Section("Side by side", tuple(blocks)) if blocks else None


def _training(found: Reproduction) -> Section | None:
    metrics = {
        protocol: {label: [r.metrics for r in group if r.metrics] for label, group in by_label.items()}
        for protocol, by_label in found.by_protocol.items()
    }
    if not any(runs for by_label in metrics.values() for runs in by_label.values()):
        return None
    blocks: list[Block] = [_curves(found, metrics)]
    losses = _losses(found)
    blocks += [losses] if losses else []
    if len(found.labels) == 1:
        blocks += _epoch_tables(found)
    return Section("Training", tuple(blocks))


def _curves(found: Reproduction, metrics: Mapping[str, Mapping[str, Sequence[Any]]]) -> Chart:
    """One model: all parts in the same axes, as far as they overfit can be seen; several: a row of panels a part."""
    loss, accuracy = protocols_.lines(metrics, "loss"), protocols_.lines(metrics, "accuracy")
    single = len(found.labels) == 1
    published = protocols_.published_curves(found.finding["models"][0]["published"]) if single else ()
    roles = [role for role in protocols_.ROLES if any(line.role == role for line in accuracy)]
    panels = []
    for group in [roles] if single else [[role] for role in roles]:
        for quantity, every_line in (("loss", loss), ("accuracy", accuracy)):
            draw = partial(
                _draw_curves, drawn=[line for line in every_line if line.role in group], every_line=every_line,
                quantity=quantity, look=found.look, published=published if quantity == "accuracy" else (),
            )  # fmt: skip
            panels.append(Panel((quantity if single else f"{group[0]}: {quantity}").capitalize(), draw))
    told = ["as published dashed, corrected solid" if len(found.by_protocol) == 2 else ""]
    told += ["training thin, held out thick" + ", test crossed" * ("test" in roles)] if single else []
    if any(line.role == "held out" and line.curve.part == "test" for line in accuracy):
        told.append("held out: validation, or the test part where a fault let it select")
    key = tuple(label for label in found.labels if any(line.curve.label == label for line in accuracy))
    return Chart(
        "training_curve", "Loss and accuracy by epoch", tuple(panels), protocols_.lines_caption(accuracy, published),
        key=key, line_key="; ".join(filter(None, told)),
    )  # fmt: skip


def _draw_curves(axes: Any, *, drawn: Any, every_line: Any, quantity: Any, look: Look, published: Any) -> None:
    protocols_.draw_lines(axes, drawn, look, published)
    protocols_.frame(axes, every_line, quantity, published)


def _losses(found: Reproduction) -> Chart | None:
    """The smoothed loss by batch, a panel a protocol."""
    panels, told, key = [], [], []
    for protocol, by_label in found.by_protocol.items():
        runs = {label: [(reading.run.steps, reading.metrics) for reading in group] for label, group in by_label.items()}
        numbers = losses_.loss_numbers(runs)
        if numbers is not None:
            draw = partial(losses_.draw_losses, numbers=numbers, axis="step", look=found.look)
            panels.append(Panel(PROTOCOLS[protocol].capitalize(), draw))
            first, _, rest = losses_.losses_caption(numbers, "step").partition(". ")  # the rest is the same for both
            told.append(f"{PROTOCOLS[protocol].capitalize()}: {first}.")
            key += [line.label for line in numbers.lines]
    if not panels:
        return None
    labels = tuple(dict.fromkeys(key))
    return Chart(
        "training_loss", "Training loss by batch, smoothed", tuple(panels), " ".join([*told, rest]), key=labels
    )


def _epoch_tables(found: Reproduction) -> list[Table]:
    published = found.finding["models"][0]["published"]
    tables = []
    for protocol, by_label in found.by_protocol.items():
        first = by_label[found.labels[0]][0]
        title = f"Epoch by epoch, {PROTOCOLS[protocol]} (seed {first.seed})"
        table = tables_.epochs_table(first, published if protocol == "as_published" else {}, title)
        tables += [table] if table else []
    return tables


def _errors(found: Reproduction) -> list[Section | None]:
    """Confusions and predictions, a section a protocol; the figures of the second are named after it."""
    found_sections: list[Section | None] = []
    readings = every(found.groups)
    part = next((part for part in PARTS if any(part in reading.scores for reading in readings)), "")
    for protocol, by_label in found.by_protocol.items() if part else ():
        section = sections.errors(by_label, part, found.look, tiles=TILES * (1 + (len(by_label) == 1)))
        if section is not None:
            blocks = [_reloaded(block) for block in section.blocks if getattr(block, "name", "") != "hardest"]
            if not any(isinstance(block, Gallery) for block in blocks):
                blocks.append(Prose("No predictions are pictured: these runs are archived without their images."))
            if found_sections:
                blocks = [_renamed(block, protocol) for block in blocks]
            title = section.title if len(found.by_protocol) == 1 else f"{section.title}: {PROTOCOLS[protocol]}"
            found_sections.append(Section(title, tuple(blocks)))
    return found_sections


def _reloaded(block: Block) -> Block:
    if isinstance(block, Gallery):
        return replace(block, caption=f"{block.caption} By weights read back from best.safetensors.")
    return block


def _renamed(block: Block, protocol: str) -> Block:
    return replace(block, name=f"{block.name}-{protocol}") if isinstance(block, Chart | Gallery) else block


def _networks(study: Study, found: Reproduction) -> Section | None:
    """Pictures and layers out of profile.json."""
    path = study.path / "profile.json"
    if not path.is_file():
        return None
    profiles = read_json(path, "profiles")["profiles"]
    blocks: list[Block] = []
    if len(profiles) > 1:
        blocks += profile_page.side_by_side(profiles, found.look).blocks
    blocks += profile_page.pictures(profiles)
    tables = [table for profile in profiles for table in profile_page.layer_tables(profile, named=True)]
    if len(profiles) > MANY_NETWORKS:
        tables = [replace(table, folded=table.folded or f"{len(table.rows) - 1} layers") for table in tables]
    blocks += tables
    flaws = [f"{clean(profile['label'])}: {clean(flaw)}" for profile in profiles for flaw in profile["flaws"]]
    first = [Prose(f"Published flaws of the networks: {'; '.join(flaws)}.")] if flaws else []
    return Section("The networks", (*first, *blocks))


def _data(found: Reproduction) -> Section | None:
    """Where there are more filters than are shown, those of one protocol for every model."""
    groups = found.groups
    if not groups:
        return None
    if len(groups) > sections.MOST_STRIPS:
        protocol, by_label = next(iter(found.by_protocol.items()))
        groups = {named(label, protocol): groups[named(label, protocol)] for label in by_label}
    section = sections.data(groups)
    if any(isinstance(block, Gallery) for block in section.blocks):
        return section
    note = "Sample images and first-layer filters are pictured where the runs were made: archived runs hold neither."
    return Section(section.title, (Prose(note), *section.blocks))


def _made(study: Study, groups: Groups, folder: Path) -> Section | None:
    return sections.how_it_was_made(groups, folder, [clean(study.table["command"])]) if groups else None
