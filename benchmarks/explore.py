"""Compares the logits of the page of `convoy explore` with PyTorch's, for all models below its size limit.

    python -m benchmarks.explore --images 500
    python -m benchmarks.explore lenet --images 10 --pen
    python -m benchmarks.explore --run RUN_FOLDER --ort node_modules/onnxruntime-web/dist

Initial weights, batch-norm statistics of 64 images, test images of MNIST, in a headless Chromium. Prints
parameters, size of the page, largest difference of two logits, largest logit, and the CPU time of the page per image,
which depends little on other processes.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tests.exploring.browser import PAD, Browser
from tests.fake_runs import mnist

from convoy import models
from convoy.exploring import sample
from convoy.exploring.content import Images, PageContent, RunContent
from convoy.exploring.graph import UnsupportedError
from convoy.exploring.onnx_runtime import read_runtime
from convoy.exploring.page import write_page
from convoy.exploring.run import collect
from convoy.exploring.trace import trace
from convoy.models import MODELS
from convoy.run_contents import RunData
from convoy.runs import Member, Run

SHAPE = (1, 28, 28)


def content_of(name: str, images: Images) -> PageContent:
    """Raises UnsupportedError for a network that is too large."""
    torch.manual_seed(0)
    network = models.create(name, in_chans=1, num_classes=10, image_size=SHAPE[1])
    x = torch.from_numpy(images.pixels) / 255
    trace(network, SHAPE)  # before the passes, which take long for a large network
    with torch.no_grad():
        network.train()(x[:64])
        logits = torch.cat([network.eval()(batch) for batch in x.split(50)]).numpy()
    graph = trace(network, SHAPE)
    confusion = np.zeros((10, 10), int).tolist()
    run = RunContent(name, name, 0, 1, tuple, (0.0,), (1.0,), graph, confusion, logits.argmax(1), logits, None, ())
    data = RunData("mnist", [str(k) for k in range(10)], *SHAPE[:2], {}, {}, "", "", [0.0], [1.0])
    return PageContent(data, "test", True, images, images, (run,), None)


def content_of_run(folder: Path, images: int, ort: Path | None) -> PageContent:
    """For a run, with more images than usual; with the engine onnx if a folder of onnxruntime-web is given."""
    sample.SCORED_IMAGES, sample.SCORED_BYTES = (images, images), 0
    run = Run(folder)
    return collect([Member(run.name, run.recipe.seed, run)], runtime=read_runtime(ort) if ort else None)


class Measured:
    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        browser.send("Performance.enable", timeDomain="threadTicks")

    def seconds(self) -> float:
        """CPU time of the page's main thread."""
        metrics = self._browser.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "ThreadTime"))

    def passes(self, content: PageContent, page: Path) -> str:
        images = len(content.scored.labels)
        (run,) = content.runs
        self._browser.open(page)
        before = self.seconds()
        compute = "logitsFor" if run.model else "logitsHere"  # those of an ONNX model run in a worker
        difference = self._browser.evaluate(f"convoy.largestDifference({images}, convoy.{compute})")
        each = 1000 * (self.seconds() - before) / images
        text = f"{difference:.1e} of {np.abs(run.logits).max():.2f} on {images} images"
        return text if run.model else f"{text}  {each:6.1f} ms"

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
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--run", type=Path, help="the folder of a run, instead of models")
    parser.add_argument("--ort", type=Path, help="with --run, the files of onnxruntime-web: use the engine onnx")
    parser.add_argument("--pen", action="store_true", help="also measure movements of the pen")
    arguments = parser.parse_args()
    pixels, labels = mnist("t10k")
    images = Images(pixels[: arguments.images].copy(), labels[: arguments.images].astype(np.int64))
    with TemporaryDirectory() as folder, Browser(Path(folder, "profile")) as browser:
        measured = Measured(browser)
        for name in [arguments.run.name] if arguments.run else arguments.models:
            try:
                if arguments.run:
                    content = content_of_run(arguments.run, arguments.images, arguments.ort)
                else:
                    content = content_of(name, images)
            except UnsupportedError:
                continue
            page = write_page(content, Path(folder, "page.html"))
            (run,) = content.runs
            size = f"{run.graph.parameters:>10,} parameters{page.stat().st_size / 1e6:6.2f} MB"
            print(f"{name:28s}{size}  {measured.passes(content, page)}", flush=True)
            if arguments.pen:
                print(measured.pen(page), flush=True)


if __name__ == "__main__":
    main()
