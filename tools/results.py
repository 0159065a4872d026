"""Trains the next missing results of docs/results/items.toml for MINUTES, and updates the status table.

    make results MINUTES=120 [JOBS=1] [CIFAR=FOLDER]       MINUTES=0: only estimate and write the table

Each item is a `convoy reproduce` command. Its runs are archived when they finish; after a kill, the next call resumes
from finished runs and checkpoints. Training has low priority (nice 19), with JOBS runs in parallel and one core per
run. Items with fewer runs than JOBS are trained in parallel.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import filelock
from tools.items import AUTO, STATUSES, Finished, Item, Need, Status, Stopwatch, estimate, read_items

from convoy.archive import TEMPORARY
from convoy.experiments.experiment import Settings
from convoy.experiments.reproduction import networks
from convoy.experiments.reproduction.scope import Scope
from convoy.files import write_bytes, write_json
from convoy.process import apply_niceness_to_session, interruptible
from convoy.runs import Run, Study

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
BEGIN, END = "<!-- begin: written by make results -->", "<!-- end -->"
SAVING_SECONDS = 180  # time for a run to save itself
NICE = 19


def finished_in(runs: Path) -> Finished:
    """Finished runs in a folder by fingerprint, and the studies next to it by digest."""
    finished: dict[str, Run | None] = {}
    for path in sorted(runs.glob("*/recipe.toml")):
        run = Run(path.parent)
        if not path.parent.name.startswith(".") and run.finished:
            finished[run.status.fingerprint] = run
    for path in sorted(runs.parent.glob("studies/reproduce-*/finding.json")):
        finished |= {part["digest"]: None for part in Study(path.parent).finding_json.get("parts", ())}
    return finished


# ---- the table ----


def table(items: Sequence[Item], statuses: Mapping[str, Status], finished: Finished) -> str:
    """A Markdown table of finished results, their machine, and the cost of the missing ones."""
    lines = [
        "| result | size | done | measured on | remaining core hours | remaining PFLOP |",
        "|---|---|---:|---|---:|---:|",
    ]
    for item in items:
        status = statuses.get(item.name)
        if status is None:
            lines.append(f"| {item.name} | {item.about} | not estimated | | | |")
            continue
        left = status.missing(finished)
        runs = [run for key in status.needs if (run := finished.get(key)) is not None]
        hours, petaflops = sum(n.seconds for n in left.values()) / 3600, sum(n.flops for n in left.values()) / 1e15
        rest = (f"{hours:.1f}", f"{petaflops:.2g}") if left else ("", "")
        done = f"{len(status.needs) - len(left)} of {len(status.needs)}"
        lines.append(f"| {' | '.join([item.name, item.about, done, _measured_on(runs), *rest])} |")
    machines = dict.fromkeys(f"{status.machine}, {status.date}" for status in statuses.values())
    notes = ['The column "done" counts runs, or studies of several runs.']
    if machines:
        notes += [f"Core hours are estimated by timing a few batches on one thread ({'; '.join(machines)})."]
    return "\n".join([*lines, "", " ".join(notes)])


def _measured_on(runs: Sequence[Run]) -> str:
    """CPUs, precisions, dates and seeds of archived runs."""
    if not runs:
        return ""
    environments = [run.environment for run in runs]
    texts = []
    for key in ("cpu", "precision"):
        texts += [", ".join(dict.fromkeys(str(getattr(environment, key)) for environment in environments))]
    days = sorted({environment.date[:10] for environment in environments})
    texts.append(days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}")
    seeds = sorted({run.recipe.seed for run in runs})
    texts.append(f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}")
    return ", ".join(texts)


def write_table(path: Path, text: str) -> None:
    """Replaces the text between BEGIN and END in the page."""
    page = path.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    write_bytes(path, f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}".encode())


def read_status(path: Path) -> dict[str, Status]:
    return STATUSES.validate_json(path.read_bytes()) if path.is_file() else {}


# ---- running ----


def command_of(item: Item, cifar: Path | None, archive: Path, out: Path) -> list[str]:
    data = ["--data", f"cifar10={cifar}"] if item.cifar else []
    options = [*data, "--archive", str(archive), "--out", str(out)]
    return [sys.executable, "-m", "convoy.cli", *shlex.split(item.command)[1:], *options]


def train(command: Sequence[str], cores: Sequence[int], seconds: float, stopping: Callable[[], bool]) -> int | None:
    """Runs a command on these cores. Returns its exit code, or None if it was stopped after `seconds` or on request."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        list(command),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_background(cores),
    )
    end = time.monotonic() + seconds
    signals, stopped = 0, False
    reader = _print_output(process)
    while process.poll() is None:
        now = time.monotonic()
        if stopping() or now > end:
            stopped = True
            if signals < 2:
                os.kill(process.pid, signal.SIGINT)  # the first: save and stop; the second: stop immediately
            else:
                os.killpg(process.pid, signal.SIGKILL)
            signals, end = signals + 1, now + SAVING_SECONDS
            _wait(process, SAVING_SECONDS)
        time.sleep(0.2)
    reader.join(timeout=5)
    return None if stopped else process.returncode


def _wait(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _background(cores: Sequence[int]) -> Callable[[], None]:
    """Returns a function that prepares the child process: NICE, its cores, and SIGINT if its parent is killed."""

    def prepare() -> None:
        os.nice(NICE)
        apply_niceness_to_session()
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)
            ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG

    return prepare


def _cores(count: int) -> list[int]:
    """The last cores that this process may use, one for each parallel run."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(count))
    usable = sorted(os.sched_getaffinity(0))
    return [usable[-1 - index % len(usable)] for index in range(count)]


def _print_output(process: subprocess.Popen[str]) -> threading.Thread:
    """Starts a thread that prints the output of a process."""

    def relay() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            say(f"    {line.rstrip()}")

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    return thread


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Session:
    """Estimates all items, then trains missing ones in the remaining time."""

    def __init__(self, arguments: argparse.Namespace, stopping: Callable[[], bool]) -> None:
        self.arguments, self.stopping = arguments, stopping
        self.end = time.monotonic() + 60 * arguments.minutes
        self.results = arguments.archive.parent
        self.items = read_items(arguments.items)
        self.status = read_status(self.results / "status.json")

    def run(self) -> int:
        self.estimate_all()
        self.write()
        failed: list[str] = []
        stopped = False
        free = _cores(self.arguments.jobs)
        running: dict[Future[int | None], tuple[Item, list[int]]] = {}
        with ThreadPoolExecutor(self.arguments.jobs) as pool:
            while True:
                while free and not (stopped or self.stopping()):
                    excluded = [*failed, *(item.name for item, _ in running.values())]
                    if (item := self.next_item(excluded)) is None:
                        break
                    count = max(1, min(len(free), len(self.left(item))))
                    cores, free = free[:count], free[count:]
                    running[pool.submit(self.train, item, cores)] = item, cores
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    item, cores = running.pop(future)
                    free += cores
                    self.write()
                    if (code := future.result()) is None:
                        stopped = True
                        say(f"{item.name}: stopped and saved; the next call resumes")
                    elif code or self.left(item):
                        say(f"{item.name}: exit code {code}, results are missing; skipped in this call")
                        failed.append(item.name)
                    else:
                        say(f"{item.name}: done")
        say(f"table: {self.arguments.page}")
        return 1 if failed else 0

    def train(self, item: Item, cores: Sequence[int]) -> int | None:
        say(f"{item.name}: about {self.seconds_left(item) / 60:.0f} core minutes, {self.minutes_left:.0f} minutes left")
        self.status[item.name] = replace(self.status[item.name], begun=True)
        command = command_of(item, self.arguments.cifar, self.arguments.archive, self.arguments.out)
        return train(command, cores, 60 * self.minutes_left, self.stopping)

    def estimate_all(self) -> None:
        stopwatch = Stopwatch(time.thread_time)
        for item in self.items:
            if item.cifar and self.arguments.cifar is None:
                say(f"{item.name}: skipped, needs CIFAR=FOLDER")
                continue
            begun = item.name in self.status and self.status[item.name].begun
            try:
                self.status[item.name] = self.estimate(item, stopwatch, begun=begun)
                networks.write_packaged(Scope(item.experiment, Settings()), self.results, from_data=not item.cifar)
            except ValueError as error:
                say(f"{item.name}: skipped, {error}")
                continue
            hours = self.seconds_left(item) / 3600
            say(f"{item.name}: " + (f"about {hours:.1f} core hours are missing" if self.left(item) else "done"))
            if self.stopping():
                return

    def estimate(self, item: Item, stopwatch: Stopwatch, *, begun: bool) -> Status:
        """Replaces precision auto by the one with the fewest missing results: another machine may have trained some."""
        finished = finished_in(self.arguments.archive)
        precisions = (AUTO, "float32", "bfloat16") if item.precision_is_auto else (AUTO,)
        statuses = []
        for precision in precisions:
            own = replace(item, command=item.command.replace(f"={AUTO}", f"={precision}"))
            statuses.append(estimate(own, self.arguments.cifar, stopwatch, begun=begun))
            if not statuses[-1].missing(finished):
                break
        return min(statuses, key=lambda status: len(status.missing(finished)))

    def next_item(self, excluded: Sequence[str]) -> Item | None:
        """The first unfinished item that was begun or fits into the remaining time, or else the first unfinished."""
        waiting = [
            item
            for item in self.items
            if item.name in self.status and item.name not in excluded and self.left(item)
            and not (item.cifar and self.arguments.cifar is None)
        ]  # fmt: skip
        if self.minutes_left < 1:
            return None
        fits = [item for item in waiting if self.seconds_left(item) < 60 * self.minutes_left * self.arguments.jobs]
        begun = [item for item in waiting if self.status[item.name].begun]
        first = min([*fits, *begun], key=self.items.index, default=None)
        return first or next(iter(waiting), None)

    @property
    def minutes_left(self) -> float:
        return max(0.0, self.end - time.monotonic()) / 60

    def left(self, item: Item, *others: Finished) -> dict[str, Need]:
        return self.status[item.name].missing(finished_in(self.arguments.archive), *others)

    def seconds_left(self, item: Item) -> float:
        """Expected core seconds; finished runs that are not yet archived take no time."""
        return sum(need.seconds for need in self.left(item, finished_in(self.arguments.out / "runs")).values())

    def write(self) -> None:
        statuses = {item.name: self.status[item.name] for item in self.items if item.name in self.status}
        write_json(self.results / "status.json", STATUSES.dump_python(statuses, exclude_defaults=True))
        write_table(self.arguments.page, table(self.items, statuses, finished_in(self.arguments.archive)))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--table", action="store_true", help="only update the table")
    parser.add_argument("--items", type=Path, default=RESULTS / "items.toml")
    parser.add_argument("--archive", type=Path, default=RESULTS / "runs")
    parser.add_argument("--page", type=Path, default=RESULTS / "status.md")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "results")
    arguments = parser.parse_args(argv)
    if arguments.jobs < 1 or arguments.minutes < 0:
        parser.error("expected --jobs of at least 1 and --minutes of at least 0")
    if arguments.cifar is not None and not arguments.cifar.is_dir():
        parser.error(f"--cifar {arguments.cifar}: expected a folder")
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(arguments.out / "results.lock", timeout=0), interruptible() as stopping:
            for folder in arguments.archive.glob(f"{TEMPORARY}*"):  # of killed processes
                shutil.rmtree(folder, ignore_errors=True)
            session = Session(arguments, stopping)
            if arguments.table:
                session.write()
                return 0
            return session.run()
    except filelock.Timeout:
        print(f"results: another call uses {arguments.out}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("results: stopped; the next call resumes", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
