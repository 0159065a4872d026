"""Reports from run folders: HTML, Markdown, figures. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from convoy.reporting.content import Page
    from convoy.runs import Run, Study


def write_report(
    target: Run | Study, folder: Path | None = None, *, page_of: Callable[[Study, Path], Page] | None = None
) -> Path:
    """Writes report.html, report.md and figures/ into `folder`, by default that of the run or study itself.

    `page_of` makes the page of a study of a kind that this package does not know. Returns the path of report.html.
    Raises ValueError for a run or study whose files are missing or damaged.
    """
    from convoy.reporting import pages, render
    from convoy.runs import Study

    folder = target.path if folder is None else Path(folder)
    page = pages.study_page(target, folder, page_of) if isinstance(target, Study) else pages.run_page(target, folder)
    return render.write(page, folder)


def draw_gallery(
    images: np.ndarray,
    labels: np.ndarray | None,
    predicted: np.ndarray,
    confidence: np.ndarray,
    classes: Sequence[str],
    path: Path,
) -> None:
    """A picture file (.png or .svg) of images with what a network takes them for; wrong ones are red and say the truth.

    `images` are uint8 [N, C, H, W] with 1 or 3 channels, `labels` (or None) and `predicted` class numbers [N],
    `confidence` fractions [N]. Raises ValueError for another suffix, or no image.
    """
    from convoy.reporting import figures_images

    figures_images.draw_gallery(images, labels, predicted, confidence, classes, Path(path))
