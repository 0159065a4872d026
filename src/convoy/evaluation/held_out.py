"""The images that a finished run was scored on, for galleries and explanations."""

from __future__ import annotations

from convoy.data import ImageSet, PreparedData

PARTS = ("test", "validation", "fold")  # the first of these that a run was scored on is shown


def scored_images(prepared: PreparedData, part: str) -> ImageSet | None:
    """The images of a part that a run was scored on and whose predictions it has stored; None if the data have none.

    Reading them again produces no new score, so it does not count as an opening of the test set.
    """
    if part == "test":
        return prepared.test.open(lambda _hash: None) if prepared.test else None
    return prepared.fold if part == "fold" else prepared.validation
