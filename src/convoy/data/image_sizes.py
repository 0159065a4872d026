"""The most frequent size among image files, and the note about a resize."""

from __future__ import annotations

from collections import Counter

from convoy.data.imageset import DataError
from convoy.recipe.sections import LARGEST_IMAGE


def usual_side(sizes: Counter[tuple[int, int]]) -> int:
    """The shorter side of the most frequent size."""
    if not sizes:
        return 32
    shorter = min(usual_size(sizes))
    if shorter > LARGEST_IMAGE:
        raise DataError(f"most images have sides of {shorter} pixels or more: set data.size to at most {LARGEST_IMAGE}")
    return shorter


def usual_size(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    """The most frequent size; the smaller one in a tie."""
    return min(sizes.items(), key=lambda item: (-item[1], item[0]))[0]


def note_on_sizes(sizes: Counter[tuple[int, int]], side: int, *, is_chosen: bool) -> tuple[str, ...]:
    if is_chosen or set(sizes) == {(side, side)}:
        return ()
    width, height = usual_size(sizes)
    count = sizes[width, height]
    share = f"{width} x {height}, the size of {count:,} of the {sum(sizes.values()):,} images"
    return (
        f"images were resized to {side} x {side} pixels, from the most frequent size ({share}); data.size sets another",
    )
