"""TensorBoard: event files in FOLDER/RUN, or in FOLDER/STUDY/RUN for a run of a study."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import tomli_w
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from convoy.recipe.files import flattened
from convoy.tracking.contents import Head, Results

EVENT_FILES = "events.out.tfevents.*"


class TensorBoard:
    def __init__(self, head: Head) -> None:
        self._head = head
        folder = Path(head.place, *([head.group] if head.group else []), head.run)
        for path in folder.glob(EVENT_FILES):
            path.unlink()
        self._writer = EventFileWriter(str(folder), flush_secs=10)
        self._add(hparams_pb({name: _plain(value) for name, value in flattened(head.parameters).items()}, head.run))
        self._add(text_pb("parameters", f"```toml\n{tomli_w.dumps(head.parameters)}\n```"))

    def log(self, values: Mapping[str, float], epoch: int, time: float) -> None:
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(Summary(value=points), epoch, time)
        self._writer.flush()

    def close(self, results: Results | None) -> None:
        if results is not None:
            self.log(results.scores, results.epoch, results.ended)
            if results.flags:
                self._add(text_pb("flags", "\n".join(results.flags)))
            if (picture := results.confusion) is not None:
                picture.save(content := BytesIO(), "png")
                size = {"width": picture.width, "height": picture.height}
                image = Summary.Image(encoded_image_string=content.getvalue(), **size)
                self._add(Summary(value=[Summary.Value(tag="confusion", image=image)]), results.epoch, results.ended)
        self._writer.close()

    @property
    def view(self) -> str:
        return f"tensorboard --logdir {shlex.quote(self._head.place)}"

    def _add(self, summary: Summary, epoch: int = 0, time: float = 0.0) -> None:
        self._writer.add_event(Event(summary=summary, step=epoch, wall_time=time or self._head.started))


def _plain(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
