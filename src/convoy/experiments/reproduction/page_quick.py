"""What a quick try trains, on how many images, and what it skips and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convoy.experiments.measure_words import measure
from convoy.reporting.content import Cell, Column, Section, Table
from convoy.reporting.quantities import plain

REASONS = {
    "seeds": "compares seeds; a quick try has one",
    "no_verdict": "a quick try judges no claim by training",
}
TITLE = "Quick try"


def quick_try(plan: Mapping[str, Any] | None) -> Section | None:
    """`plan`: "quick_try" of a finding. None if the number of images was given, or the study is not a quick try."""
    if plan is None:
        return None
    machine = f"{plan['cpu']}, {plan['cores']} core{'s' if plan['cores'] > 1 else ''}"
    tables = []
    if plan["sizes"]:
        columns = (Column("Network", numeric=False), Column("Training images"), Column("Epochs"))
        rows = tuple(
            (Cell(name), Cell(f"{size['images']:,}"), Cell(str(size["epochs"]))) for name, size in plan["sizes"].items()
        )
        note = (
            "From a timing of each network on this machine: 1.5 times the training images (over all epochs) that it "
            "was measured to need to learn; more if that takes almost no time."
        )
        tables.append(Table(columns, rows, note, "Trained networks"))
    if plan["left_out"]:
        tables.append(_left_out(plan["left_out"], machine))
    return Section(TITLE, tuple(tables)) if tables else None


def _left_out(skipped: Sequence[Mapping[str, Any]], machine: str) -> Table:
    columns = (
        Column("Part", numeric=False),
        Column("Skipped", numeric=False),
        Column("Reason", numeric=False),
        Column("Training speed", "images/s"),
    )
    rows = tuple(
        (
            Cell(each["part"]),
            Cell(_named(each)),
            Cell(reason(each)),
            Cell("" if each["images_per_second"] is None else plain(each["images_per_second"])),
        )
        for each in skipped
    )
    return Table(columns, rows, f"Times and speeds of one thread: {machine}.", "Skipped")


def reason(left_out: Mapping[str, Any]) -> str:
    if left_out["reason"] != "time":
        return REASONS[left_out["reason"]]
    minutes = left_out["seconds"] / 60
    duration = f"{minutes:.0f} minutes" if minutes >= 1.5 else "at least a minute"
    return f"needs about {duration} on this machine" + ("; timed only" if left_out["part"] == "models" else "")


def _named(left_out: Mapping[str, Any]) -> str:
    side = left_out["side"]
    return left_out["name"] if side is None else f"{left_out['name']}, {side.replace('_', ' ')}"


def without_untrained(models: Sequence[Mapping[str, Any]], plan: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The models; those that a quick try skipped keep only counted published values, such as parameters."""
    names = {each["name"] for each in (plan or {}).get("left_out", ()) if each["part"] == "models"}
    return [
        {**model, "published": {name: value for name, value in model["published"].items() if _is_counted(name)}}
        if model["label"] in names and not any(model["runs"].values())
        else dict(model)
        for model in models
    ]


def _is_counted(name: str) -> bool:
    return not name.endswith("_by_epoch") and measure(name).exact
