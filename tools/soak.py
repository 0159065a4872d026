"""Makes write calls fail, kills processes, repeats the work, and compares the result with that of uninterrupted work.

python -m tools.soak                                  all of it
python -m tools.soak --failures 20 --kills 5 training evaluation
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path

os.environ |= {"CONVOY_LANG": "en", "OMP_NUM_THREADS": "1"}

from tests.forks import CONTEXT, use_forks_of_this_process, write_output
from tests.interrupted import FAILURES, WORK_FAILED, Subject, spread, start
from tests.scenarios import SCENARIOS, SCHEDULER_FILE, saving_each_step

CLUSTER = "study on a cluster"
# Number of failing write calls (None: all) and of kills of each scenario.
COUNTS: dict[str, tuple[int | None, int]] = {
    "training": (None, 100),
    "evaluation": (None, 50),
    "study": (60, 20),
    "study in processes": (0, 50),
    CLUSTER: (0, 20),
    "search": (40, 30),
    "report": (None, 15),
    "export": (None, 15),
}


def fail(subject: Subject, most: int | None) -> Iterator[str]:
    """Yields a line for each wrong result."""
    for number, lasting in FAILURES:
        for call in spread(len(subject.calls), most):
            try:
                subject.fail(number, call, lasting=lasting)
            except Exception as error:
                name, path = subject.calls[call]
                yield f"{errno.errorcode[number]}, call {call} ({name} {path}): {type(error).__name__}: {error}"


def kill(subject: Subject, count: int, draw: random.Random) -> Iterator[str]:
    """Yields a line for each wrong result."""
    before = subject.kills
    while subject.kills < before + count:
        try:
            subject.kill(1 + draw.randrange(3), draw)
        except Exception as error:
            yield f"{type(error).__name__}: {error}"


def kill_on_cluster(subject: Subject, count: int, draw: random.Random) -> Iterator[str]:
    """Kills the driver, the scheduler or a worker. Yields a line for each wrong result."""
    seconds = 0.0
    for number in range(count + 1):  # the first attempt is not interrupted
        folder = subject.new_attempt()
        with cluster(folder) as parts:
            started_at, driver = time.monotonic(), start(CLUSTER, folder, subject.recipe)
            if number:
                driver.join(draw.uniform(0, seconds))
                victim = draw.choice([driver, *parts])
                victim.kill()
                subject.kills += 1
            driver.join()
            seconds = seconds or time.monotonic() - started_at
        error = (folder / "err.work").read_text(encoding="utf-8")
        if driver.exitcode not in (0, -signal.SIGKILL, WORK_FAILED):
            yield error
        if driver.exitcode != 0:
            with cluster(folder):
                driver = start(CLUSTER, folder, subject.recipe)
                driver.join()
        try:
            assert driver.exitcode == 0, (folder / "err.work").read_text(encoding="utf-8")
            subject.check(folder)
        except Exception as error:
            yield f"{type(error).__name__}: {error}"


@contextmanager
def cluster(folder: Path) -> Iterator[list[BaseProcess]]:
    """A scheduler and two workers."""
    (folder / SCHEDULER_FILE).unlink(missing_ok=True)
    own = ["--scheduler-file", str(folder / SCHEDULER_FILE), "--no-dashboard"]
    programs = [("scheduler", [*own, "--host", "127.0.0.1", "--port", "0"])]
    programs += [("worker", [*own, "--nthreads", "1", "--no-nanny"])] * 2
    processes = [CONTEXT.Process(target=_run_dask, args=(folder, *program)) for program in programs]
    for process in processes:
        process.start()
    while not (folder / SCHEDULER_FILE).exists():
        time.sleep(0.05)
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def _run_dask(folder: Path, program: str, options: list[str]) -> None:
    os.chdir(folder)
    write_output(program)
    use_forks_of_this_process()
    with saving_each_step():
        import_module(f"distributed.cli.dask_{program}").main(options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", help=f"of {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--failures", type=int, help="write calls of each scenario that fail; default: see COUNTS")
    parser.add_argument("--kills", type=int, help="kills of each scenario; default: see COUNTS")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.fsync = lambda fd: None  # needed only for power failures
    use_forks_of_this_process()
    draw, wrong, kills = random.Random(options.seed), 0, 0
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.environ["CONVOY_CACHE"] = str(Path(folder, "cache"))
        for name in options.scenarios or COUNTS:
            most, count = COUNTS[name]
            most = most if options.failures is None else options.failures
            count = count if options.kills is None else options.kills
            (place := Path(folder, name.replace(" ", "-"))).mkdir()
            subject, started_at = Subject("study" if name == CLUSTER else name, place), time.monotonic()
            killed = (kill_on_cluster if name == CLUSTER else kill)(subject, count, draw)
            for line in (*fail(subject, 0 if name == CLUSTER else most), *killed):
                wrong += 1
                print(f"  {name}: {line}", flush=True)
            failures = 0 if name == CLUSTER else len(FAILURES) * len(spread(len(subject.calls), most))
            in_checkpoints = sum("/checkpoints/" in line for line in subject.in_write_calls)
            print(
                f"{name}: {failures} failed write calls ({len(subject.calls)} in uninterrupted work); "
                f"{subject.kills} kills, {len(subject.in_write_calls)} in a write call, "
                f"{in_checkpoints} of a checkpoint; {time.monotonic() - started_at:.0f} s",
                flush=True,
            )
            kills += subject.kills
    print(f"{kills} kills, {wrong} wrong results")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
