"""The measurement of all benchmarks: interleaved rounds, medians, and a result with machine and versions.

Each variant is a separate process (`serve`), so that variants share no imports and no thread pool; it waits for its
turn without using the processor. The variant that starts changes from round to round. The first round is warm-up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("convoy-ml", "torch", "torchvision", "timm", "numpy", "pillow")
ENVIRONMENT = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "MKL_NUM_THREADS")


def serve(measure_round: Callable[[], float]) -> None:
    """Measures one round for each line on standard input and prints the number."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps prints of the measured code out of the protocol
    for _ in sys.stdin:
        print(measure_round(), file=answer, flush=True)


class Way:
    """Starts this script with `arguments` and the additional `environment`; it serves rounds."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        command = [sys.executable, sys.argv[0], *arguments]
        own = {**os.environ, **environment}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own)

    def __call__(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # an ended process is an error below
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process measured for {sys.argv[0]} ended, code {self._process.wait()}")
        return float(answer)

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def ways(
    arguments: Mapping[str, Sequence[str]], environments: Mapping[str, Mapping[str, str]] = MappingProxyType({})
) -> Iterator[dict[str, Way]]:
    started = {name: Way(each, environments.get(name, {})) for name, each in arguments.items()}
    try:
        yield started
    finally:
        for way in started.values():
            way.close()


def in_turn(measured: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """The numbers of each variant, without the warm-up round 0."""
    values: dict[str, list[float]] = {name: [] for name in measured}
    names = list(measured)
    for count in range(rounds + 1):
        for name in names if count % 2 else reversed(names):
            value = measured[name]()
            if count:
                values[name].append(value)
        shown = "  ".join(f"{name} {values[name][-1]:,.4g}" for name in names) if count else "warm-up"
        print(f"round {count}: {shown}", file=sys.stderr)
    return values


def ratio(values: Mapping[str, Sequence[float]], above: str, below: str) -> float:
    """The median of the rounds' ratios, which cancels slow minutes of the machine."""
    return median(a / b for a, b in zip(values[above], values[below], strict=True))


def write_result(lines: Sequence[str], numbers: Mapping[str, Any]) -> None:
    """Prints the lines and writes them and the numbers, with machine, versions and command, to results/."""
    where = conditions()
    name = f"{where['date'][:10]}-{Path(sys.argv[0]).stem}"
    head = [f"{key}: {_in_a_line(value)}" for key, value in where.items() if value]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text("\n".join([*lines, "", *head, ""]), encoding="utf-8")
    (RESULTS / f"{name}.json").write_text(json.dumps({**where, **numbers}, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))


def conditions() -> dict[str, Any]:
    import torch

    from convoy.recipe import Recipe
    from convoy.training.machine.environment import describe

    described = describe(torch.device("cpu"), Recipe())
    return {
        "date": described.date,
        "command": f"python benchmarks/{' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}",
        **{key: getattr(described, key) for key in ("cpu", "cores", "platform", "python")},
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _in_a_line(value: object) -> str:
    return ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
