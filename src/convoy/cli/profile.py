"""convoy profile: the cost of a network, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convoy import api
from convoy.cli.app import Call, command, print_json, print_table
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.profiling.result import Profile

TEXTS = ("layer", "kind", "from", "layers", "model", "images")  # columns; the others hold numbers


@command(api.profile)
def profile(call: Call, as_json: bool) -> None:
    profiled = call() if as_json else call(each=_show)
    if as_json:
        profiles = [profile.as_json() for profile in profiled.profiles]
        for table in profiles:
            del table["calls"]
        print_json({"page": str(profiled.page), "profiles": profiles})
        return
    from convoy.profiling import words

    if len(profiled.profiles) > 1:
        print_table([words.summary(profile) for profile in profiled.profiles], TEXTS)
    print(profiled.page)


def _show(profile: Profile) -> None:
    """Layers and totals of one network."""
    from convoy.profiling import words

    print(words.heading(profile))
    if len(profile.layers) > words.MAX_LAYERS:
        print(_("{n} layers, listed by block; the page lists each layer", n=len(profile.layers)))
    print_table(words.layers(profile), TEXTS)
    print("\n".join([*words.totals(profile), ""]))
