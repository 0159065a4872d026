"""What a quick try trains, on how many images, and what it skips and why."""

from __future__ import annotations

from convoy.experiments.quick import Choice, LeftOut, LeftOutBecause, Size
from convoy.experiments.reproduction.words import protocol_name
from convoy.reporting.content import Field, Section, table_of
from convoy.reporting.quantities import plain
from convoy.text import gettext as _
from convoy.text import ngettext


def quick_try(choice: Choice | None) -> Section | None:
    if choice is None:
        return None
    tables = []
    if choice.sizes:
        trained: list[Field[tuple[str, Size]]] = [
            Field(_("Network"), lambda row: row[0], numeric=False),
            Field(_("Training images"), lambda row: f"{row[1].images:,}"),
            Field(_("Epochs"), lambda row: str(row[1].epochs)),
        ]
        note = _(
            "From a timing of each network on this machine: 1.5 times the training images (over all epochs) that it "
            "was measured to need to learn; more if that takes almost no time."
        )
        tables.append(table_of(trained, choice.sizes.items(), note, _("Trained networks")))
    if choice.left_out:
        skipped: list[Field[LeftOut]] = [
            Field(_("Part"), lambda each: each.part, numeric=False),
            Field(_("Skipped"), _skipped, numeric=False),
            Field(_("Reason"), _reason, numeric=False),
            Field(
                _("Training speed"),
                lambda each: "" if each.images_per_second is None else plain(each.images_per_second),
                "images/s",
            ),
        ]
        note = ngettext(
            "Times and speeds of one thread: {cpu}, {n} core.",
            "Times and speeds of one thread: {cpu}, {n} cores.",
            choice.cores,
            cpu=choice.cpu,
        )
        tables.append(table_of(skipped, choice.left_out, note, _("Skipped")))
    return Section(_("Quick try"), tuple(tables)) if tables else None


def _skipped(left_out: LeftOut) -> str:
    return f"{left_out.name}, {protocol_name(left_out.side)}" if left_out.side else left_out.name


def _reason(left_out: LeftOut) -> str:
    if left_out.reason is LeftOutBecause.SEEDS:
        return _("compares seeds; a quick try has one")
    if left_out.reason is LeftOutBecause.NO_VERDICT:
        return _("a quick try judges no claim by training")
    minutes = (left_out.seconds or 0.0) / 60
    if minutes >= 1.5:
        text = _("needs about {minutes:.0f} minutes on this machine", minutes=minutes)
    else:
        text = _("needs a minute or more on this machine")
    return "; ".join([text, _("timed only")]) if left_out.part == "models" else text
