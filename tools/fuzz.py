"""Searches for inputs of a parser that break its contract (tests/fuzz_targets.py), guided by coverage, with atheris.

    python -m tools.fuzz idx [--inputs 1000000 | --seconds 600]

By default a parser of bytes gets a million inputs, one that reads files ten minutes. Convoy's own modules are
instrumented. The input that breaks the contract is written to a file of the current folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["convoy"]):
    from tests.fuzz_targets import TARGETS, check

INPUTS, SECONDS = 1_000_000, 600
LONGEST = 4096  # bytes of an input


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--inputs", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0)
    options = parser.parse_args()
    target = TARGETS[options.target]
    if not options.inputs and not options.seconds:
        options.seconds, options.inputs = (SECONDS, 0) if target.reads_files else (0, INPUTS)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        seeds, folder = Path(name, "seeds"), Path(name, "input")
        seeds.mkdir()
        for number, content in enumerate(target.seeds()):
            (seeds / str(number)).write_bytes(content)
        limits = [f"-runs={options.inputs or -1}", f"-max_total_time={options.seconds}", f"-max_len={LONGEST}"]
        arguments = [sys.argv[0], *limits, "-print_final_stats=1", "-rss_limit_mb=4096", str(seeds)]
        atheris.Setup(arguments, lambda content: check(target, content, folder))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
