"""Checks that studies on two hosts, one of which loses its network, end with the numbers of one machine.

    sudo python -m benchmarks.two_hosts [--limit 3000] [--epochs 3]

The hosts are network namespaces (iproute2) joined by a veth pair, each with its own cache and Dask worker. On the
first, `convoy cluster start` runs a scheduler with TLS, and the study runs there, too. After the first finished run the
link of the second host is set down until the study ends, so that the first host trains the remaining runs. Then each
study runs on one machine. The findings must be equal, except for costs, notes on lost workers, and whether runs were
parallel.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import write_result

HOSTS = {"convoy-a": "10.77.0.1", "convoy-b": "10.77.0.2"}
STUDIES = {
    "search": ["--range", "lr=1e-3..1e-1", "--trials", "6", "--sampler", "random", "--pruner", "none", "--seeds", "2"],
    "crossval": ["--folds", "6"],
}
# Values whose names contain one of these are not compared.
DIFFERENT = ("cost", "seconds", "flags", "parallel", "bytes")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def namespaces() -> Iterator[None]:
    first, second = HOSTS
    try:
        for host in HOSTS:
            ip("netns", "add", host)
        ip("link", "add", first, "netns", first, "type", "veth", "peer", "name", second, "netns", second)
        for host, address in HOSTS.items():
            ip("-n", host, "addr", "add", f"{address}/24", "dev", host)
            set_links(host, "up")
            ip("-n", host, "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], check=False)


def set_links(host: str, state: str) -> None:
    ip("-n", host, "link", "set", host, state)


def start(host: str, folder: Path, *arguments: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    environment = os.environ | {"CONVOY_CACHE": str(folder / f"cache-{host}"), "OMP_NUM_THREADS": "1"}
    command = ["ip", "netns", "exec", host, sys.executable, "-m", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True, bufsize=1
    )


def on_two_hosts(command: Sequence[str], folder: Path) -> float:
    """Returns the seconds from the loss of the link to the end."""
    first, second = HOSTS
    with namespaces(), ExitStack() as stack:

        def run(host: str, *arguments: str) -> None:
            process = start(host, folder, *arguments)
            stack.callback(process.wait)
            stack.callback(process.terminate)

        run(first, "convoy", "cluster", "start", HOSTS[first], "--folder", "keys")
        while not (folder / "keys" / "scheduler.json").is_file():
            time.sleep(0.1)
        tls = ["--tls-ca-file", "keys/cert.pem", "--tls-cert", "keys/cert.pem", "--tls-key", "keys/key.pem"]
        for host in HOSTS:
            own = ["--nthreads", "1", "--local-directory", f"scratch-{host}"]
            run(host, "distributed.cli.dask_worker", "--scheduler-file", "keys/scheduler.json", *own, *tls)
        time.sleep(10)  # for the workers to start
        study = start(first, folder, "convoy", *command, output=subprocess.PIPE)
        assert study.stdout is not None
        lost_at = 0.0
        for line in study.stdout:
            print(line, end="", file=sys.stderr)
            if "run folder" in line and not lost_at:
                lost_at = time.monotonic()
                set_links(second, "down")
        seconds = time.monotonic() - lost_at
        assert study.wait() == 0
        assert lost_at
        set_links(second, "up")
    return seconds


def finding_of(out: Path) -> Any:
    (path,) = (out / "studies").glob("*/finding.json")
    return comparable(json.loads(path.read_text(encoding="utf-8")))


def comparable(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if not any(part in name for part in DIFFERENT)}
        return {name: comparable(inner) for name, inner in kept.items()}
    return [comparable(inner) for inner in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    lines, numbers = [], {}
    for kind, own in STUDIES.items():
        command = [kind, "lenet", "--data", "mnist", "--limit", str(options.limit), "--epochs", str(options.epochs)]
        command += [*own, "--compute.threads", "1"]
        with TemporaryDirectory() as name:
            folder = Path(name)
            where = ["--where", "dask-file:keys/scheduler.json", "--out", "two"]
            seconds = on_two_hosts([*command, *where], folder)
            alone = [sys.executable, "-m", "convoy", *command, "--out", "one"]
            subprocess.run(alone, cwd=folder, check=True, stdout=sys.stderr)
            two, one = finding_of(folder / "two"), finding_of(folder / "one")
            statuses = [path.read_text(encoding="utf-8") for path in (folder / "two").glob("runs/*/status.json")]
        resumed = sum("was lost" in status for status in statuses)
        result = "equal" if one == two else "DIFFERENT"
        lines.append(
            f"{kind}: findings of two hosts and of one machine are {result}; {len(statuses)} runs, {resumed} of them "
            f"resumed after the second host was lost; {seconds:.0f} s from then to the end"
        )
        numbers[kind] = {"equal": one == two, "runs": len(statuses), "resumed": resumed, "seconds_after_loss": seconds}
    write_result(lines, numbers)


if __name__ == "__main__":
    main()
