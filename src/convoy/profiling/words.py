"""Sentences about a profile, for the console and its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convoy.profiling.result import Layer, LayerNote, Profile
from convoy.reporting.quantities import MIB, quartile_range
from convoy.text import gettext as _
from convoy.text import ngettext
from convoy.text.lists import joined
from convoy.text.numbers import plain, with_unit


def size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def kind(layer: Layer) -> str:
    names = {LayerNote.OWN: _("own parameters"), LayerNote.UNUSED: _("not used")}
    name, space, settings = layer.kind.partition(" ")
    return f"{name}{space}{joined(settings_text(settings))}" or names[layer.note]


def settings_text(settings: str) -> list[str]:
    """Returns the settings of a layer (evaluation/naming.py) in the language of the reader: ["5×5", "stride 2"]."""
    return [_setting(setting) for setting in settings.split(", ")]


def _setting(setting: str) -> str:
    match setting.split(" "):
        case ["stride", step]:
            return _("stride {step}", step=step)
        case ["dilation", step]:
            return _("dilation {step}", step=step)
        case ["depthwise"]:
            return _("depthwise")
        case [n, "groups"]:
            return _("{n} groups", n=n)
        case [n, "heads"]:
            return _("{n} heads", n=n)
        case ["to", size]:
            return _("to {size}", size=size)
    return setting


def note(layer: Layer) -> str:
    notes = {
        LayerNote.SHARED: _("shared weights"),
        LayerNote.UNUSED: _("unused in a forward pass in evaluation mode"),
    }
    return notes.get(layer.note, "")


def sizes(profile: Profile) -> str:
    sizes = profile.sizes
    return _(
        "Sizes for one image in float32: input {image} MiB, activations (outputs of these layers) {outputs} MiB, "
        "parameters {parameters} MiB; total {total} MiB",
        image=plain(sizes.input / MIB),
        outputs=plain(sizes.outputs / MIB),
        parameters=plain(sizes.parameters / MIB),
        total=plain(sizes.total / MIB),
    )


def flaws(profile: Profile) -> list[str]:
    return [_("{label}: published flaw: {flaw}", label=profile.label, flaw=flaw) for flaw in profile.flaws]


def images(profile: Profile) -> str:
    return _("images {shape}, {classes} classes", shape=size(profile.input), classes=profile.classes)


def totals(profile: Profile) -> Iterator[str]:
    """The lines below the table of layers on the console."""
    memory, single, batch = profile.training, profile.single, profile.batch
    yield sizes(profile)
    yield _(
        "{parameters:,} parameters, {flops:,} FLOPs per image (2 per multiply-add: {macs}; without norms, "
        "activations and pooling)",
        parameters=profile.parameters,
        flops=profile.flops_per_image,
        macs=with_unit(profile.macs_per_image, "MACs"),
    )
    yield _(
        "training memory, computed: {total} MiB at batch {batch} = parameters {parameters} + gradients {gradients} + "
        "{optimizer} state {state} + activations {activations}",
        total=plain(memory.total / MIB),
        batch=memory.batch_size,
        parameters=plain(memory.parameters / MIB),
        gradients=plain(memory.gradients / MIB),
        optimizer=profile.optimizer,
        state=plain(memory.optimizer_state / MIB),
        activations=plain(memory.activations / MIB),
    )
    cpu = ngettext("the CPU, {n} thread", "the CPU, {n} threads", profile.threads)
    yield _(
        "latency: {ms} ms per image (quartiles {quartiles}); {speed} images/s at batch {batch} (medians of "
        "{passes} and {batch_passes} passes on {device})",
        ms=plain(single.ms),
        quartiles=quartile_range(single.ms, (single.lower_ms, single.upper_ms)),
        speed=plain(batch.images_per_second),
        batch=batch.batch_size,
        passes=single.passes,
        batch_passes=batch.passes,
        device=cpu if profile.device == "cpu" else profile.device,
    )
    yield from flaws(profile)
