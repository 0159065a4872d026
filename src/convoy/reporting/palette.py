"""Colours and marks. A figure is drawn once in light colours. A page replaces these by CSS variables for dark mode.

The light value identifies the variable, so all colours must differ. Models have the colours of Okabe and Ito
(2008), followed by darker ones of Tol (2021), and different marks for greyscale prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# name: (light, dark)
SCREEN = {
    "paper": ("#ffffff", "#14171a"),
    "ink": ("#1c2127", "#e4e7ea"),
    "muted": ("#59636e", "#9da7b1"),
    "rule": ("#d4d9de", "#363d44"),
    "wash": ("#eef1f3", "#22272c"),
    "wrong": ("#b3261e", "#ff8a75"),
    "heat": ("#9c3d00", "#ff9d5c"),
}
MODELS = (
    ("#0072b2", "#4aa8e8"),
    ("#d55e00", "#ff8b3d"),
    ("#009e73", "#2cc79c"),
    ("#b8679a", "#e69cc9"),
    ("#c98700", "#f0b429"),
    ("#3da0d9", "#8fd0f7"),
    ("#7a1f4b", "#d4709f"),
    ("#77772b", "#c2c25e"),
    ("#3b2a8c", "#9d90f5"),
    ("#7f5539", "#c69c78"),
)
MARKS = "osD^vPX"
# The same marks as SVG paths in a box from -5 to 5.
MARK_PATHS = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "s": "M-3.6-3.6h7.2v7.2h-7.2z",
    "D": "M0-4.8L4.8 0L0 4.8L-4.8 0z",
    "^": "M0-4.4L4.4 3.8H-4.4z",
    "v": "M0 4.4L4.4-3.8H-4.4z",
    "P": "M-1.6-4.4h3.2v2.8h2.8v3.2h-2.8v2.8h-3.2v-2.8h-2.8v-3.2h2.8z",
    "X": "M-4.2-2.2L-2.2-4.2L0-2L2.2-4.2L4.2-2.2L2 0L4.2 2.2L2.2 4.2L0 2L-2.2 4.2L-4.2 2.2L-2 0z",
}
PAPER, INK, MUTED, RULE, WASH, WRONG, HEAT = (light for light, _ in SCREEN.values())


class Look:
    """The colour and mark of each model, the same in all figures of a report."""

    def __init__(self, labels: Sequence[str], aliases: Mapping[str, str] | None = None) -> None:
        """`aliases` maps other names of models to labels, whose colour and mark they share."""
        self._indices = {label: index for index, label in enumerate(labels)}
        self._indices |= {name: self._indices[label] for name, label in (aliases or {}).items()}

    def colour(self, label: str) -> str:
        return MODELS[self._indices[label] % len(MODELS)][0]

    def mark(self, label: str) -> str:
        return MARKS[self._indices[label] % len(MARKS)]


def variables(dark: bool) -> str:
    """Returns the CSS declarations of all colours."""
    pairs = [*SCREEN.items(), *((f"m{index}", values) for index, values in enumerate(MODELS))]
    return " ".join(f"--{name}: {values[dark]};" for name, values in pairs)


def by_variable() -> dict[str, str]:
    """Maps each light colour to its CSS variable."""
    return {light: f"var(--{name})" for name, (light, _) in SCREEN.items()} | {
        light: f"var(--m{i})" for i, (light, _) in enumerate(MODELS)
    }
