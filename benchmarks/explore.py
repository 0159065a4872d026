"""Compares the logits of the page of `convoy explore` with PyTorch's, for all models below its size limit.

    python -m benchmarks.explore --images 500
    python -m benchmarks.explore lenet --images 10 --pen
    python -m benchmarks.explore --run RUN_FOLDER --ort node_modules/onnxruntime-web/dist

Initial weights, batch-norm statistics of 64 images, test images of MNIST, in a headless Chromium. Prints
parameters, size of the page, largest difference of two logits, largest logit, and the CPU time of the page per image,
which depends little on other processes. Without names of models, it also writes the lines to results/. Exits with 1 if
two logits differ by 1e-4 or more.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from benchmarks.measure import conditions, footer, write_result
from tests.exploring import zoo
from tests.exploring.browser import PAD, Browser

from convoy.exploring import sample
from convoy.exploring.content import PageContent
from convoy.exploring.onnx_runtime import read_runtime
from convoy.exploring.page import write_page
from convoy.exploring.run import collect
from convoy.models import MODELS
from convoy.runs import Member, Run

LARGEST_DIFFERENCE = 1e-4  # of two logits; above, the script ends with exit code 1


def content_of_run(folder: Path, images: int, ort: Path | None) -> PageContent:
    """For a run, with more images than usual; with the engine onnx if a folder of onnxruntime-web is given."""
    sample.SCORED_IMAGES, sample.SCORED_BYTES = (images, images), 0
    run = Run(folder)
    return collect([Member(run.name, run.recipe.seed, run)], runtime=read_runtime(ort) if ort else None)


def contents(arguments: argparse.Namespace) -> Iterator[tuple[str, PageContent]]:
    if arguments.run:
        yield arguments.run.name, content_of_run(arguments.run, arguments.images, arguments.ort)
        return
    images = zoo.test_images(arguments.images)
    for name, network in zoo.networks(arguments.models or MODELS):
        yield name, zoo.content_of(name, network, images)


class Measured:
    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        browser.send("Performance.enable", timeDomain="threadTicks")

    def seconds(self) -> float:
        """CPU time of the page's main thread."""
        metrics = self._browser.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "ThreadTime"))

    def passes(self, content: PageContent, page: Path) -> tuple[dict[str, float], str]:
        """Returns the largest difference of two logits and the milliseconds per image, and a text with both."""
        images = len(content.scored.labels)
        (run,) = content.runs
        self._browser.open(page)
        before = self.seconds()
        compute = "logitsFor" if run.model else "logitsHere"  # those of an ONNX model run in a worker
        difference = float(self._browser.evaluate(f"convoy.largestDifference({images}, convoy.{compute})"))
        each = 1000 * (self.seconds() - before) / images
        text = f"{difference:.1e} of {np.abs(run.logits).max():.2f} on {images} images"
        numbers = {"images": images, "difference": difference, "milliseconds": each}
        return numbers, text if run.model else f"{text}  {each:6.1f} ms"

    def pen(self, page: Path) -> str:
        """Draws a circle; returns the milliseconds of the first ten pen movements and the median of the others."""
        self._browser.resize(1280)
        self._browser.open(page)
        self._browser.evaluate("new Promise((resolve) => setTimeout(resolve, 3000))")
        left, top, width, height = self._browser.evaluate(PAD)
        self._browser.click("#clear")
        each = []
        for step in range(250):
            x, y = 0.5 + 0.2 * math.sin(step / 20), 0.5 - 0.3 * math.cos(step / 20)
            kind, before = "mouseMoved" if step else "mousePressed", self.seconds()
            place = {"x": left + width * x, "y": top + height * y}
            self._browser.send("Input.dispatchMouseEvent", type=kind, **place, button="left", buttons=1, clickCount=1)
            self._browser.evaluate("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))")
            each.append(1000 * (self.seconds() - before))
        first = " ".join(f"{ms:.0f}" for ms in each[:10])
        return f"movements of the pen: first {first}, median of the others {statistics.median(each[10:]):.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--run", type=Path, help="the folder of a run, instead of models")
    parser.add_argument("--ort", type=Path, help="with --run, the files of onnxruntime-web: use the engine onnx")
    parser.add_argument("--pen", action="store_true", help="also measure movements of the pen")
    arguments = parser.parse_args()
    lines = ["model, parameters, size of the page, largest difference of two logits, largest logit, CPU time per image"]
    numbers: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as folder, Browser(Path(folder, "profile")) as browser:
        measured = Measured(browser)
        for name, content in contents(arguments):
            page = write_page(content, Path(folder, "page.html"))
            (run,) = content.runs
            size = f"{run.graph.parameters:>10,} parameters{page.stat().st_size / 1e6:6.2f} MB"
            numbers[name], text = measured.passes(content, page)
            lines.append(f"{name:28s}{size}  {text}")
            print(lines[-1], file=sys.stderr, flush=True)
            if arguments.pen:
                lines.append(measured.pen(page))
        lines.append(browser.send("Browser.getVersion")["product"])
    if arguments.models or arguments.run:
        print(*lines, "", *footer(conditions()), sep="\n")
    else:
        write_result(lines, numbers)
    if not all(each["difference"] < LARGEST_DIFFERENCE for each in numbers.values()):
        raise SystemExit(f"a logit differs by {LARGEST_DIFFERENCE} or more")


if __name__ == "__main__":
    main()
