"""Figures of confusion matrices and class balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from convoy.reporting.content import shortened
from convoy.reporting.palette import HEAT, INK, MUTED, PAPER, WASH
from convoy.run_contents import Score, part_name
from convoy.text import gettext as _

MANY_CLASSES = 20  # a matrix with more classes is drawn as an image without numbers
NAME_LENGTH = 12  # characters


class ConfusedPair(NamedTuple):
    true: str
    predicted: str
    images: int
    total: int  # images of the true class

    @property
    def percent(self) -> float:
        return 100 * self.images / max(1, self.total)


class ConfusionNumbers(NamedTuple):
    label: str
    classes: tuple[str, ...]
    counts: np.ndarray  # int [K, K], rows are true classes, summed over seeds
    runs: int

    @property
    def shares(self) -> np.ndarray:
        """Counts as fractions of the true class."""
        return self.counts / np.maximum(1, self.counts.sum(1, keepdims=True))

    @property
    def errors(self) -> np.ndarray:
        """`shares` with the diagonal (correct predictions) set to 0."""
        return self.shares * (1 - np.eye(len(self.classes)))

    def worst(self, number: int) -> list[ConfusedPair]:
        """Returns the class pairs with the most misclassified images."""
        wrong = self.counts * (1 - np.eye(len(self.classes), dtype=int))
        order = np.argsort(-wrong, axis=None, kind="stable")[:number]
        cells = [divmod(int(index), len(self.classes)) for index in order]
        return [
            ConfusedPair(self.classes[t], self.classes[p], int(wrong[t, p]), int(self.counts[t].sum()))
            for t, p in cells
            if wrong[t, p]
        ]


class BalanceNumbers(NamedTuple):
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]  # by part


def class_names(classes: Sequence[str]) -> list[str]:
    """Returns class names shortened for the axes of a figure."""
    return shortened(classes, NAME_LENGTH)


def confusion_numbers(label: str, classes: Sequence[str], scores: Sequence[Score]) -> ConfusionNumbers:
    """`scores`: one per run, all of the same part."""
    counts = np.sum([np.array(score.confusion, dtype=int) for score in scores], axis=0)
    return ConfusionNumbers(label, tuple(classes), counts, len(scores))


def draw_confusion(axes: Axes, numbers: ConfusionNumbers, scale: float) -> None:
    """Draws errors in one colour, with full opacity at the share `scale`, and the diagonal in grey.

    Opacity is used because the same drawing is shown on light and dark pages.
    """
    k = len(numbers.classes)
    depth = np.sqrt(np.clip(numbers.errors / max(scale, 1e-9), 0, 1))  # square root: small errors stay visible
    axes.set_xlim(-0.5, k - 0.5)
    axes.set_ylim(k - 0.5, -0.5)
    axes.set_aspect("equal", anchor="N")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if k > MANY_CLASSES:
        _draw_as_image(axes, depth)
    else:
        _draw_cells(axes, numbers, depth)
    step = 1 if k <= MANY_CLASSES else -(-k // 10)
    ticks = list(range(0, k, step))
    names = class_names(numbers.classes)[::step]
    wide = max(map(len, names)) * k > 45 or k > MANY_CLASSES
    axes.set_xticks(ticks, names, rotation=90 if wide else 0)
    axes.set_yticks(ticks, names)
    axes.tick_params(length=0)
    axes.set_xlabel(_("predicted class"))
    axes.set_ylabel(_("true class"))


def _draw_cells(axes: Axes, numbers: ConfusionNumbers, depth: np.ndarray) -> None:
    k = len(numbers.classes)
    size = 10 if k <= 5 else 8 if k <= 12 else 5
    for row in range(k):
        for column in range(k):
            right, count = row == column, int(numbers.counts[row, column])
            if not right and not count:
                continue
            colour, alpha = (WASH, 1.0) if right else (HEAT, 0.06 + 0.94 * depth[row, column])
            axes.add_artist(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, color=colour, alpha=alpha, linewidth=0))
            text = f"{100 * numbers.shares[row, row]:.1f}" if right else f"{count:,}"
            ink = MUTED if right else PAPER if depth[row, column] > 0.62 else INK
            axes.text(column, row, text, ha="center", va="center_baseline", fontsize=size, color=ink)


def _draw_as_image(axes: Axes, depth: np.ndarray) -> None:
    """Draws an image, because 100 classes would be 10,000 shapes. Its mid-tone is visible on light and dark pages."""
    k = len(depth)
    pixels = np.empty((k, k, 4))
    pixels[..., :3] = to_rgb("#d1691f")
    pixels[..., 3] = np.where(depth > 0, 0.15 + 0.85 * depth, 0)
    pixels[np.arange(k), np.arange(k)] = (0.55, 0.58, 0.61, 0.5)
    axes.imshow(pixels, interpolation="none", extent=(-0.5, k - 0.5, k - 0.5, -0.5))


def confusion_caption(panels: Sequence[ConfusionNumbers]) -> str:
    many = len(panels[0].classes) > MANY_CLASSES
    runs = max(numbers.runs for numbers in panels)
    sentences = [
        _("Coloured cells: misclassified images; grey: diagonal.")
        if many
        else _("Coloured cells: number of misclassified images; grey: recall (%)."),
        _("Colour: square root of the cell's share of the images of its true class, on the same scale in all panels.")
        if len(panels) > 1
        else _("Colour: square root of the cell's share of the images of its true class."),
    ]
    if runs > 1:
        sentences.append(_("Sums over {runs} seeds.", runs=runs))
    return " ".join(sentences)


def balance_numbers(per_class: Mapping[str, Sequence[int]], classes: Sequence[str]) -> BalanceNumbers:
    return BalanceNumbers(tuple(classes), {part: tuple(counts) for part, counts in per_class.items() if any(counts)})


def draw_balance(axes: Axes, numbers: BalanceNumbers) -> None:
    """Draws shares, not counts, so that parts of different sizes are comparable."""
    k = len(numbers.classes)
    small = 1 if k <= 5 * MANY_CLASSES else 0.25
    marks = {
        "validation": ("o", 5 * small, MUTED),
        "fold": ("+", 7 * small, INK),
        "test": ("x", 6 * small, INK),
    }
    handles: list[Any] = []
    for part, counts in numbers.counts.items():
        share = 100 * np.array(counts) / sum(counts)
        if part == "train":
            handles.append(axes.bar(range(k), share, width=0.72, color=MUTED, alpha=0.3, linewidth=0))
        else:
            mark, size, colour = marks[part]
            handles += axes.plot(range(k), share, mark, color=colour, markersize=size, markeredgewidth=1.4 * small)
    step = 1 if k <= MANY_CLASSES else -(-k // 10)
    names = class_names(numbers.classes)[::step]
    axes.set_xticks(range(0, k, step), names, rotation=90 if max(map(len, names)) * len(names) > 40 else 0)
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(False, axis="x")
    axes.set_ylabel(_("share of the set (%)"))
    axes.legend(
        handles, list(map(part_name, numbers.counts)), loc="lower right", bbox_to_anchor=(1.0, 1.0),
        ncols=len(numbers.counts), frameon=False, handlelength=1, columnspacing=1, handletextpad=0.5,
    )  # fmt: skip


def balance_caption(numbers: BalanceNumbers) -> str:
    part = "train" if "train" in numbers.counts else next(iter(numbers.counts))
    counts = np.array(numbers.counts[part])
    least, most = int(counts.argmin()), int(counts.argmax())
    return _(
        "Share of each class in each set. Images per class in {part}: {least:,} (class {rarest}) to "
        "{most:,} (class {commonest}), a ratio of {ratio:.2f}.",
        part=part_name(part),
        least=counts[least],
        rarest=numbers.classes[least],
        most=counts[most],
        commonest=numbers.classes[most],
        ratio=counts[most] / max(1, counts[least]),
    )
