"""What a quick try trained, on how many images, and what it left out for which reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convoy.reporting.content import Cell, Column, Section, Table, clean
from convoy.reporting.measures import measure
from convoy.reporting.quantities import plain

REASONS = {
    "seeds": "it compares seeds, and a quick try has one",
    "no_verdict": "a quick try decides no claim by training",
}
TITLE = "What this quick try took"


def quick_try(found: Mapping[str, Any] | None) -> Section | None:
    """Of a finding's `quick_try`; None where the images were given, or the study is no quick try."""
    if found is None:
        return None
    machine = f"{clean(found['cpu'])}, {found['cores']} core{'s' if found['cores'] > 1 else ''}"
    tables = []
    if found["sizes"]:
        columns = (Column("Network", numeric=False), Column("Images", "to train on"), Column("Epochs"))
        rows = tuple(
            (Cell(clean(name)), Cell(f"{size['images']:,}"), Cell(str(size["epochs"])))
            for name, size in found["sizes"].items()
        )
        note = (
            "Chosen once, by a timing of each network on this machine: as many training images, epochs counted, as it "
            "was measured to need to learn, and half as many again; more where that takes next to no time."
        )
        tables.append(Table(columns, rows, note, "Trained"))
    if found["left_out"]:
        tables.append(_left_out(found["left_out"], machine))
    return Section(TITLE, tuple(tables)) if tables else None


def _left_out(found: Sequence[Mapping[str, Any]], machine: str) -> Table:
    columns = (
        Column("Part", numeric=False),
        Column("Left out", numeric=False),
        Column("Why", numeric=False),
        Column("Training speed", "images/s"),
    )
    rows = tuple(
        (
            Cell(clean(each["part"])),
            Cell(clean(_named(each))),
            Cell(why(each)),
            Cell("" if each["images_per_second"] is None else plain(each["images_per_second"])),
        )
        for each in found
    )
    return Table(columns, rows, f"Times and speeds are of one thread: {machine}.", "Left out")


def why(left_out: Mapping[str, Any]) -> str:
    if left_out["reason"] != "time":
        return REASONS[left_out["reason"]]
    minutes = left_out["seconds"] / 60
    duration = f"{minutes:.0f} minutes" if minutes >= 1.5 else "a minute or more"
    return f"needs about {duration} on this machine" + ("; timed only" if left_out["part"] == "models" else "")


def _named(left_out: Mapping[str, Any]) -> str:
    side = left_out["side"]
    return left_out["name"] if side is None else f"{left_out['name']}, {side.replace('_', ' ')}"


def without_untrained(models: Sequence[Mapping[str, Any]], found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Networks that a quick try had no time for keep of what was published only what is counted, such as parameters."""
    names = {each["name"] for each in (found or {}).get("left_out", ()) if each["part"] == "models"}
    return [
        {**model, "published": {name: value for name, value in model["published"].items() if _is_counted(name)}}
        if model["label"] in names and not any(model["runs"].values())
        else dict(model)
        for model in models
    ]


def _is_counted(name: str) -> bool:
    return not name.endswith("_by_epoch") and measure(name).exact
