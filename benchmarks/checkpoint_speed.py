"""Measures how long a checkpoint of 280 MB takes to write, and the additional memory.

    python -m benchmarks.checkpoint_speed [--rounds 10] [--folder .]

"pieces" is `files.write_pieces` of the tensors' memory, as in `convoy.checkpoint`; "copies" is what Convoy did before:
`safetensors.torch.save` of copied tensors, a SHA-256 of the result, a write. Both wait until the file is on the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from benchmarks.measure import write_result
from safetensors.torch import save

from convoy import models
from convoy.checkpoint import save_weights
from convoy.evaluation.cost import PeakMemory
from convoy.files import write_bytes

Tensors = Mapping[str, torch.Tensor]


def with_copies(path: Path, tensors: Tensors) -> str:
    copied = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    content = save(copied, metadata={"aliases": "{}"})
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


WRITERS: dict[str, Callable[[Path, Tensors], str]] = {"copies": with_copies, "pieces": save_weights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    weights = models.create("resnet50", in_chans=1, num_classes=10, image_size=28).state_dict()
    tensors = {f"{part}/{name}": tensor.clone() for part in range(3) for name, tensor in weights.items()}
    megabytes = sum(tensor.nbytes for tensor in tensors.values()) / 1e6
    measured: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WRITERS}
    with TemporaryDirectory(dir=options.folder) as folder:
        for number in range(options.rounds + 1):
            digests = set()
            for name, write in sorted(WRITERS.items(), reverse=bool(number % 2)):
                peak, before = PeakMemory(torch.device("cpu")), resident_bytes()
                started_at, cpu = time.perf_counter(), time.process_time()
                digests.add(write(Path(folder) / name, tensors))
                seconds, cpu = time.perf_counter() - started_at, time.process_time() - cpu
                if number:
                    measured[name].append((cpu, seconds, (peak.bytes() - before) / 1e6))
            assert len(digests) == 1  # the same bytes
    lines = [
        f"resnet50 with two moments, {megabytes:.0f} MB, n = {options.rounds} in turn; median (smallest to largest)"
    ]
    for name, values in measured.items():
        cpu_text, seconds_text, memory_text = (
            f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in zip(*values, strict=True)
        )
        lines.append(f"{name}: {cpu_text} CPU s, {seconds_text} s, {memory_text} MB more memory")
    write_result(lines, {"megabytes": megabytes, "measured": measured})


def resident_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
