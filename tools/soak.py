"""Fails write calls, lets the work continue, and compares its result with that of unbroken work.

python -m tools.soak                                  all of it
python -m tools.soak --failures 20 training
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ |= {"CONVOY_LANG": "en", "OMP_NUM_THREADS": "1"}

from tests.forks import use_forks_of_this_process
from tests.interrupted import FAILURES, Subject, spread
from tests.scenarios import SCENARIOS


def failures(subject: Subject, most: int | None) -> Iterator[str]:
    """Yields a line for each wrong result."""
    for number, lasting in FAILURES:
        for call in spread(len(subject.calls), most):
            try:
                subject.fail(number, call, lasting=lasting)
            except Exception as error:
                name, path = subject.calls[call]
                yield f"{errno.errorcode[number]}, call {call} ({name} {path}): {type(error).__name__}: {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", help=f"of {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--failures", type=int, help="write calls of each scenario that fail; default: all")
    options = parser.parse_args()
    os.fsync = lambda handle: None
    use_forks_of_this_process()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.environ["CONVOY_CACHE"] = str(Path(folder, "cache"))
        for name in options.scenarios or SCENARIOS:
            (place := Path(folder, name.replace(" ", "-"))).mkdir()
            subject, started_at = Subject(name, place), time.monotonic()
            for line in failures(subject, options.failures):
                wrong += 1
                print(f"  {name}: {line}", flush=True)
            count = len(FAILURES) * len(spread(len(subject.calls), options.failures))
            print(
                f"{name}: {count} failed write calls of {len(subject.calls)}, {time.monotonic() - started_at:.0f} s",
                flush=True,
            )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
