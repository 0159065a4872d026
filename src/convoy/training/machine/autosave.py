"""Decides when to save a checkpoint: often enough that a kill loses little, rarely enough that saving costs little."""

from __future__ import annotations

SECONDS = 10.0  # minimum between two checkpoints
SHARE = 0.03  # maximum fraction of a run's time spent on saving; 283 MB take 0.4 s of processor time


class Autosave:
    """Remembers when the last checkpoint was saved and how long that took, in seconds."""

    def __init__(self, now: float) -> None:
        self._saved_at, self._duration = now, 0.0

    def due(self, now: float) -> bool:
        return now - self._saved_at > max(SECONDS, self._duration / SHARE)

    def saved(self, started_at: float, ended: float) -> None:
        self._saved_at, self._duration = ended, ended - started_at
