"""The options of `convoy compare`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from convoy.options import Epochs, Flag, Fresh, Init, StudyOptions, Test


class CompareOptions(StudyOptions, total=False):
    vary: Annotated[
        Mapping[str, Sequence[Any]] | Sequence[tuple[str, Sequence[Any]]] | Sequence[str],
        Flag(
            "A key and its values, as in model.options.norm=batch,none. May be repeated: trains every combination.", ()
        ),
    ]
    seeds: Annotated[int, Flag("Runs per recipe, with seed, seed + 1, and so on.", 3)]
    epochs: Epochs
    init: Init
    fresh: Fresh
    test: Test
