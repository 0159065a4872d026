"""When a run in progress saves a checkpoint: so that a kill costs little, and the saving costs less."""

from __future__ import annotations

SECONDS = 10.0  # between two checkpoints, at the least
SHARE = 0.03  # of a run's time that goes to saving, at the most: a network of 40 million parameters takes 4 s each time


class Autosave:
    """Keeps when the last checkpoint was saved and how long that took; all times by one clock, in seconds."""

    def __init__(self, now: float) -> None:
        self._saved, self._took = now, 0.0

    def due(self, now: float) -> bool:
        return now - self._saved > max(SECONDS, self._took / SHARE)

    def saved(self, begun: float, ended: float) -> None:
        self._saved, self._took = ended, ended - begun
