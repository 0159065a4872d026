"""Seconds of 16 runs of LeNet on a Dask cluster of two local workers, and in two worker processes.

    python -m benchmarks.cluster [--rounds 3] [--runs 16] [--limit 16000]

`dask` trains like `convoy compare --where dask:2`, `processes` like the command without `--where` (on more than two
cores: `taskset -c 0,1`). Each round trains all runs from scratch in an empty folder, with new processes. Overhead of a
run: the seconds in which both workers are busy, divided by the runs that end in that time, minus the seconds in
cost.json; without the first run of each worker.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.measure import interleaved, ratio, write_result

from convoy.events import Ended
from convoy.recipe import Recipe, resolve
from convoy.runs import Run
from convoy.studies.execute import Where, execute
from convoy.studies.session import Session

WORKERS = 2


def seconds(recipes: list[Recipe], where: Where, overheads: list[float]) -> float:
    """Trains all recipes; appends the overhead of each run after the first on each worker."""
    with TemporaryDirectory() as out:
        session = Session(Path(out), where=f"dask:{WORKERS}" if where == "cluster" else None)
        began, ends, own = perf_counter(), [], []
        for _position, event in execute(recipes, session, where=where):
            if isinstance(event, Ended):
                ends.append(perf_counter())
                own.append(Run(event.run).cost.total_seconds or 0.0)
        total = perf_counter() - began
    # Both workers are busy between the first and the last of these ends.
    busy_seconds = WORKERS * (ends[-WORKERS] - ends[WORKERS - 1])
    overheads.append((busy_seconds - sum(own[WORKERS:-WORKERS])) / max(1, len(own) - 2 * WORKERS))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--limit", type=int, default=16_000)
    options = parser.parse_args()
    keys = [("train.epochs", 1), ("data.limit", options.limit)]
    recipes = [resolve("lenet", data="mnist", overrides=[*keys, ("seed", seed)]) for seed in range(options.runs)]
    places: dict[str, Where] = {"dask": "cluster", "processes": "processes"}
    overheads: dict[str, list[float]] = {name: [] for name in places}
    values = interleaved(
        {name: partial(seconds, recipes, places[name], overheads[name]) for name in places}, options.rounds
    )
    ratios = sorted(dask / local for dask, local in zip(values["dask"], values["processes"], strict=True))
    after = {name: each[1:] for name, each in overheads.items()}  # without the warm-up
    lines = [
        f"{options.runs} runs of LeNet, {options.limit:,} images of MNIST, one epoch, {WORKERS} workers; "
        f"{options.rounds} rounds",
        f"dask {median(values['dask']):.1f} s, processes {median(values['processes']):.1f} s; ratio "
        f"{ratio(values, 'dask', 'processes'):.3f} (median; {ratios[0]:.3f} to {ratios[-1]:.3f})",
        *(
            f"overhead per run after the first on each worker, {name}: {median(each):.2f} s "
            f"({min(each):.2f} to {max(each):.2f})"
            for name, each in after.items()
        ),
    ]
    write_result(lines, {"seconds": values, "ratios": ratios, "overhead_seconds": after})


if __name__ == "__main__":
    main()
