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
    target: Run | Study,
    folder: Path | None = None,
    *,
    page_of: Callable[[Study, Path], Page],
) -> Path:
    """Writes report.html, report.md and figures/ into `folder`, by default the folder of the run or study.

    `page_of` makes the page of a study, whose kinds this package does not know. Returns the path of report.html. Raises
    ValueError if files of the run or study are missing or damaged.
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
    """Writes images with their predicted classes to a .png or .svg file. Wrong ones are red, with the true class.

    `images` are uint8 [N, C, H, W] with 1 or 3 channels, `labels` (or None) and `predicted` class indices [N],
    `confidence` fractions [N]. Raises ValueError for another suffix, or without images.
    """
    from convoy.reporting import figures_images

    figures_images.draw_gallery(images, labels, predicted, confidence, classes, Path(path))
