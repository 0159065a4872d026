"""A worker process: recipes in on standard input, events out on standard output, a JSON line each.

Started by its own module name, so the user's `__main__` is never imported again: a notebook and a script without a main
guard work like any other caller. The thread count stands in the environment before torch is loaded.
When the parent goes away, standard input ends, and the run in progress saves itself.

    in:   {"recipe": {...}, "out": "...", "fresh": false, "test": true, "until": 3}  |  {"control": "pause" or "prune"}
    out:  {"kind": "progress", "text": "", "values": {...}}  |  {"kind": "error", "text": "one line", ...}
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from typing import Any, TextIO

from convoy.training.events import Control


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and says so on the pipe
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a user's print() must not speak on the pipe

    inbox = Inbox()
    threading.Thread(target=inbox.listen, daemon=True).start()

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    while (job := inbox.jobs.get()) is not None:
        _work(job, inbox, answers)


class Inbox:
    """Reads the parent's messages in a thread of its own, also while a run is in progress."""

    def __init__(self) -> None:
        self.jobs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.asked = Control.CONTINUE
        self._parent_gone = False

    def control(self) -> Control:
        return Control.PAUSE if self._parent_gone else self.asked

    def listen(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "control" in message:
                self.asked = Control(message["control"])
            else:
                self.asked = Control.CONTINUE  # set here, where what the parent says later cannot be overtaken
                self.jobs.put(message)
        self._parent_gone = True
        self.jobs.put(None)


def _work(job: dict[str, Any], inbox: Inbox, answers: TextIO) -> None:
    from convoy.recipe import Recipe
    from convoy.training.run_one import run_one

    try:
        recipe = Recipe.model_validate(job["recipe"])
        options = {key: job[key] for key in ("fresh", "test", "until")}
        for event in run_one(recipe, job["out"], **options, control=inbox.control):
            _answer(answers, event._asdict())
    except (ValueError, OSError) as error:
        _answer(answers, {"kind": "error", "text": str(error), "values": {}})
    except MemoryError:
        text = "out of memory: a smaller batch, network or image may fit, or fewer cores (taskset) at a time"
        _answer(answers, {"kind": "error", "text": text, "values": {}})
    except Exception as error:
        traceback.print_exc()
        _answer(answers, {"kind": "error", "text": f"{type(error).__name__}: {error}", "values": {"bug": True}})


def _answer(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
