"""The models: one file per family and one row per model in `catalogue`. `create` builds them.

It also builds a user's network ("path/to/net.py:MyNet", a class or a function) and networks of two libraries
("timm:NAME", "torchvision:NAME").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from convoy.models.catalogue import MODELS
from convoy.models.entry import Geometry, ModelEntry, Option, defaults_of
from convoy.registry import is_external, is_user_class, unknown
from convoy.text import gettext as _

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS", "Geometry", "ModelEntry", "create", "default_options"]


def create(
    name: str, *, in_chans: int, num_classes: int, image_size: int, options: Mapping[str, Option] | None = None
) -> nn.Module:
    """Builds a network with float32 weights drawn from torch's default generator; seed the generator first.

    The network maps (N, in_chans, image_size, image_size) to logits (N, num_classes). Its `flaws` describe known errors
    of the published network. Raises ValueError for an unknown name or option, a value out of range, images that are too
    small, and an error in a user's file or in a library.
    """
    geometry = Geometry(in_chans, num_classes, image_size)
    options = dict(options or {})
    if is_user_class(name):
        from convoy.models import user

        return user.create(name, geometry, options)
    if is_external(name):
        from convoy.models import external

        return external.create(name, geometry, options)
    entry = MODELS[name]
    if image_size < entry.smallest_image:
        raise ValueError(
            _(
                "images of {image_size} pixels are too small for {name}: expected {smallest_image} or more",
                image_size=image_size,
                name=name,
                smallest_image=entry.smallest_image,
            )
        )
    for option, value in options.items():
        _check_option(entry, option, value)
    return entry.factory(geometry, **(entry.options | options))


def default_options(name: str) -> dict[str, Option]:
    """All options of a model with their defaults, for the fingerprint."""
    if is_user_class(name):
        from convoy.models import user

        return defaults_of(user.load_factory(name))
    if is_external(name):
        from convoy.models import external

        return external.default_options(name)
    return MODELS[name].options


def _check_option(entry: ModelEntry, option: str, value: Option) -> None:
    if option == "pretrained":
        raise ValueError(
            _(
                "{name} has no pretrained weights; use --init RUN, or a network from a library: timm:NAME or "
                "torchvision:NAME",
                name=entry.name,
            )
        )
    if option not in entry.options:
        raise unknown(_("option"), option, entry.options, _("model.options of {name}", name=entry.name))
    expected = type(entry.options[option])
    type_names = {bool: _("true or false"), int: _("an integer"), float: _("a number"), str: _("a string")}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number if expected is float else type(value) is expected):
        raise ValueError(
            _(
                "{option} = {value!r} in model.options of {name}: expected {type_names}",
                option=option,
                value=value,
                name=entry.name,
                type_names=type_names[expected],
            )
        )
