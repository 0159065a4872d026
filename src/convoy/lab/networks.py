"""The diagram, the layers and the code of a run's network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from convoy.evaluation.load import untrained_network_of
from convoy.models.run_code import RunCode
from convoy.profiling import page as profile_page
from convoy.profiling.measure import Subject, profile
from convoy.registry import is_user_class
from convoy.reporting.content import Block, Code, Drawing, Prose
from convoy.reporting.reading import RunView
from convoy.runs import Run
from convoy.text import gettext as _

MAX_PICTURES = 6  # networks of a study that are drawn


def pictures(view: RunView, number: int) -> Iterator[Block]:
    """Yields the diagram and the layer table of a network, or a sentence if its code cannot be run here."""
    data, recipe = view.data, view.recipe
    subject = Subject(view.label, recipe, data.in_chans, len(data.classes), data.image_size)
    try:
        with torch.random.fork_rng(devices=[]):
            module = untrained_network_of(view.run)
        profiled = profile(subject, torch.device("cpu"), state_per_parameter=0, quick=True, module=module)
    except ValueError as error:
        yield Prose(_("No diagram of {label}: {reason}.", label=view.label, reason=error))
        return
    for drawing in profile_page.pictures([profiled]):
        assert isinstance(drawing, Drawing)
        title = _("Architecture of {label}", label=view.label)
        yield replace(drawing, name=f"network-{number + 1}", title=title)
    for table in profile_page.layer_tables(profiled, named=False):
        title = table.collapsed_title or _("Layers of {label}", label=view.label)
        yield replace(table, title=title, collapsed_title="")


def code_of(run: Run) -> Iterator[Code]:
    """Yields the source files of a user's network."""
    if is_user_class(run.recipe.model.name):
        for path, source in sorted(RunCode.read(run.path / "code").files.items()):
            yield Code(source.decode(errors="replace").strip(), path)
