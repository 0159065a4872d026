"""Nothing opens a socket unless it is asked for, as by `convoy data get` or a cluster."""

from __future__ import annotations

from pathlib import Path

from tests.forks import run_code

CODE = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(f"{event}{arguments}")

sys.addaudithook(refuse)

import convoy
from convoy.reporting import canvas, render

canvas.draw_chart = lambda *_: ("", b"")  # figures take as long as the rest
canvas.inline_panels = lambda chart, svg, prefix: []
render.save_gallery = lambda gallery, folder: None
options = {"data": "mnist", "limit": 200, "epochs": 1, "set": {"compute.threads": 1}, "show": False}
run = convoy.train("fast_mnist_cnn", **options)
print(convoy.report(run))
print(convoy.explore(run))
print(convoy.doctor(run))
"""


def test_a_run_and_its_pages_open_no_socket(tmp_path: Path) -> None:
    done = run_code(tmp_path, CODE, blocked=())
    assert done.code == 0, done.err
    assert "explore.html" in done.out
