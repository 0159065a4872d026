"""convoy profile: the cost of a network, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convoy import api
from convoy.cli.app import Call, command, print_json, print_path, print_table, say

if TYPE_CHECKING:
    from convoy.profiling.result import Profile
    from convoy.reporting.content import Table


@command(api.profile)
def profile(call: Call, as_json: bool) -> None:
    profiled = call() if as_json else call(callback=_show)
    from convoy.profiling import page
    from convoy.profiling.result import PROFILES

    if as_json:
        tables = PROFILES.dump_python(
            profiled.profiles, mode="json", by_alias=True, exclude={"__all__": {"calls": True}}
        )
        print_json({"page": str(profiled.page), "profiles": tables})
        return
    if len(profiled.profiles) > 1:
        _print(page.summary(profiled.profiles))
    print_path(profiled.page)


def _show(profile: Profile) -> None:
    """Prints the layers and totals of one network."""
    from convoy.profiling import page, words

    say(f"{profile.label}: {words.images(profile)}")
    _print(page.layer_tables(profile, named=False)[0])
    for total in (*words.totals(profile), ""):
        say(total)


def _print(table: Table) -> None:
    """Prints a table with units below the titles, omitting notes of numeric cells and columns without a title."""
    columns = [(place, column) for place, column in enumerate(table.columns) if column.title]
    rows = [
        {
            column.title: row[place].text if column.numeric else f"{row[place].text} {row[place].note}".strip()
            for place, column in columns
        }
        for row in table.rows
    ]
    units = {column.title: column.unit for _, column in columns}
    print_table([units, *rows] if any(units.values()) else rows, [c.title for _, c in columns if not c.numeric])
