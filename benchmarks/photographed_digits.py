"""How many photographed digits does a network trained on MNIST classify correctly?

The photographs are simulated from pen strokes (tests/data/photographed_digits.py): 10 sets of 40. Raw images are only
scaled and cropped to the size of the network's input.

    convoy train fast-mnist --out WORKSPACE
    python -m benchmarks.photographed_digits WORKSPACE
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.data.photographed_digits import photographs

import convoy
from convoy.runs import Workspace

SETS, COUNT = 10, 40


def main() -> None:
    (run,) = Workspace(sys.argv[1]).runs()
    print(f"{run.name}: test accuracy {100 * run.scores['test'].accuracy:.2f} % of MNIST")
    with tempfile.TemporaryDirectory() as name:
        for seed in range(SETS):
            digits = []
            for number, (digit, image) in enumerate(photographs(COUNT, seed)):
                image.save(Path(name) / f"{number:02}.png")
                digits.append(str(digit))
            by_raw = [convoy.predict(run, name, raw=raw) for raw in (False, True)]
            correct = [sum(p.predicted == d for p, d in zip(found, digits, strict=True)) for found in by_raw]
            print(f"set {seed}: {correct[0]} of {COUNT}, with raw images {correct[1]}")


if __name__ == "__main__":
    main()
