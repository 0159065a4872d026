"""Compares the logits of exported networks with those of the runs: all models, random weights, MNIST training images.

    python -m benchmarks.export_parity --images 100

Prints the largest difference of two logits, divided by the largest logit: for ONNX in onnxruntime, for torch.export,
and for network.py of a bundle in a separate process; 28 x 28 grey images. If it is above 1e-5, also the difference of
PyTorch in float32 from float64. FAILED: `convoy export` would refuse to write the file.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fake_runs import mnist
from tests.random_runs import random_run

import convoy
from convoy.models import MODELS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--to", nargs="+", default=["onnx", "pt2", "bundle"])
    arguments = parser.parse_args()
    images = mnist("train")[0][: arguments.images]
    for name in arguments.models:
        cells = []
        with TemporaryDirectory() as folder:
            run = random_run(Path(folder, "run"), name, images)
            for to in arguments.to:
                started = time.perf_counter()
                try:
                    parity = convoy.export(run, Path(folder, to), to=to).parity
                    assert parity is not None
                    rounding = "" if parity.rounding is None else f" (float32 - float64: {parity.rounding:.1e})"
                    result = f"{parity.difference:.1e}{rounding}"
                except ValueError as error:
                    result = f"FAILED: {error}"
                cells.append(f"{to} {result} ({time.perf_counter() - started:.0f} s)")
        print(f"{name:28s}", "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
