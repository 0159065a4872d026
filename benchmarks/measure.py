"""Measures all benchmarks: interleaved rounds, medians, and a result with machine and versions.

Each variant is a separate process (`serve`), so that variants share no imports and no thread pool. It waits without
using the processor while others are measured. The order of the variants alternates; the first round is warm-up.
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

SCRIPT = Path(sys.argv[0]).stem  # the benchmark that runs
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("convoy-ml", "torch", "distributed", "torchvision", "timm", "numpy", "pillow")
ENVIRONMENT = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "MKL_NUM_THREADS")


def serve(measure_round: Callable[[], float]) -> None:
    """Measures a round for each line on standard input and prints the number."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of the measured code goes to standard error
    for _ in sys.stdin:
        print(measure_round(), file=output, flush=True)


class Variant:
    """A process that runs this script with `arguments` and additional environment variables, and serves rounds."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", f"benchmarks.{SCRIPT}", *arguments]
        env = {**os.environ, **environment}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __call__(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # reported below
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process of {SCRIPT} ended with exit code {self._process.wait()}")
        return float(line)

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def variants(
    arguments: Mapping[str, Sequence[str]], environments: Mapping[str, Mapping[str, str]] = MappingProxyType({})
) -> Iterator[dict[str, Variant]]:
    started = {name: Variant(values, environments.get(name, {})) for name, values in arguments.items()}
    try:
        yield started
    finally:
        for variant in started.values():
            variant.close()


def interleaved(measured: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Returns the numbers of each variant, without those of round 0, the warm-up."""
    values: dict[str, list[float]] = {name: [] for name in measured}
    names = list(measured)
    for number in range(rounds + 1):
        for name in names if number % 2 else reversed(names):
            value = measured[name]()
            if number:
                values[name].append(value)
        numbers = "  ".join(f"{name} {values[name][-1]:,.4g}" for name in names) if number else "warm-up"
        print(f"round {number}: {numbers}", file=sys.stderr)
    return values


def ratio(values: Mapping[str, Sequence[float]], numerator: str, denominator: str) -> float:
    """Returns the median of the rounds' ratios, so that slow minutes of the machine cancel."""
    return median(a / b for a, b in zip(values[numerator], values[denominator], strict=True))


def write_result(lines: Sequence[str], numbers: Mapping[str, Any]) -> None:
    """Prints the lines, and writes lines and numbers with machine, versions and command to results/."""
    measured_on = conditions()
    name = f"{measured_on['date'][:10]}-{SCRIPT}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text("\n".join([*lines, "", *footer(measured_on), ""]), encoding="utf-8")
    (RESULTS / f"{name}.json").write_text(json.dumps({**measured_on, **numbers}, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))


def footer(measured_on: Mapping[str, Any]) -> list[str]:
    return [f"{key}: {_one_line(value)}" for key, value in measured_on.items() if value]


def conditions() -> dict[str, Any]:
    """Date, command, machine, versions and environment variables of a measurement."""
    import torch

    from convoy.recipe import Recipe
    from convoy.training.machine.environment import describe

    environment = describe(torch.device("cpu"), Recipe())
    return {
        "date": environment.date,
        "command": f"python -m benchmarks.{' '.join([SCRIPT, *sys.argv[1:]])}",
        **{key: getattr(environment, key) for key in ("cpu", "cores", "platform", "python")},
        "versions": {name: number for name in PACKAGES if (number := _version(name))},
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _one_line(value: object) -> str:
    return ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, dict) else str(value)
