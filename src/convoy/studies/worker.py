"""A worker process: reads recipes from standard input and writes events to standard output, one JSON line each.

It is started by its module name, so that the user's `__main__` is not imported again: notebooks and scripts without a
main guard work. The thread count is set in the environment before torch is loaded. When standard input ends, because
the parent closed it or ended, the run in progress is saved.

    in:   {"recipe": {...}, "out": "...", "fresh": false, "test": true, "until": 3, "data": null}
          ("data", on a cluster: the entry of this host's cache that contains the recipe's data)
          or {"control": "pause" or "prune"}
    out:  an event of convoy.events, or {"event": "Failed", "text": "one line", "is_bug": false}
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import queue
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from convoy import files
from convoy.events import Control, Event, Failed, to_json
from convoy.process import apply_niceness_to_session
from convoy.studies.child import SCRATCH, Job
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.data import PreparedDataCache
    from convoy.data.imageset import DataSet
    from convoy.studies.child import Data


def main() -> None:
    if SCRATCH in sys.argv:
        files.stop_flushing()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides and sends a message
    apply_niceness_to_session()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a user's print() must not write to the pipe

    inbox = Inbox()
    threading.Thread(target=inbox.listen, daemon=True).start()

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from convoy.data import PreparedDataCache

    atexit.register(gc.freeze)  # see convoy.cli.main
    data = PreparedDataCache()
    with suppress(BrokenPipeError):  # the parent ended
        while (job := inbox.jobs.get()) is not None:
            _work(job, data, inbox, answers)


class Inbox:
    """Reads the parent's messages in a separate thread, so that they arrive during a run."""

    def __init__(self) -> None:
        self.jobs: queue.Queue[Job | None] = queue.Queue()
        self._control = Control.CONTINUE
        self._parent_gone = False

    def control(self) -> Control:
        return Control.PAUSE if self._parent_gone else self._control

    def listen(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "control" in message:
                self._control = Control(message["control"])
            else:
                self._control = Control.CONTINUE  # set here, so that it cannot overwrite a later message of the parent
                self.jobs.put(Job.of(message))
        self._parent_gone = True
        self.jobs.put(None)


def _work(job: Job, data: PreparedDataCache, inbox: Inbox, answers: TextIO) -> None:
    from convoy.recipe import Recipe
    from convoy.training.run.plan import plan_one
    from convoy.training.run.run_one import run_one

    try:
        recipe = Recipe.model_validate(job.recipe)
        dataset = None if job.data is None else _received(job.data)
        plan = plan_one(recipe, data.prepare(recipe.data, dataset))
        for event in run_one(plan, job.out, fresh=job.fresh, test=job.test, until=job.until, control=inbox.control):
            _answer(answers, event)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        _answer(answers, Failed(str(error)))
    except MemoryError:
        text = _("out of memory: use a smaller batch, network or image, or fewer cores (taskset)")
        _answer(answers, Failed(text))
    except Exception as error:
        traceback.print_exc()
        _answer(answers, Failed(f"{type(error).__name__}: {error}", is_bug=True))


def _received(data: Data) -> DataSet:
    """Returns the data that the driver of a cluster has sent to this host."""
    from convoy.data import cache

    if (dataset := cache.read(data.key)) is None:
        raise ValueError(
            _("the data {name!r} are damaged on this host: {folder}", name=data.name, folder=cache.entry_of(data.key))
        )
    return replace(dataset, name=data.name, paths=None if data.paths is None else tuple(data.paths))


def _answer(answers: TextIO, message: Event | Failed) -> None:
    answers.write(to_json(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
