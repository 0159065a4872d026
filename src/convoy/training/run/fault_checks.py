"""Checks the requirements of a recipe's faults and describes their effect on its data. recipe.faults defines them."""

from __future__ import annotations

from convoy import models
from convoy.data import PreparedData
from convoy.data.augment import build as build_augmentation
from convoy.models.entry import floor_of_loss
from convoy.recipe import Recipe
from convoy.recipe.faults import FaultContext
from convoy.text import gettext as _


def context_of(recipe: Recipe, prepared: PreparedData) -> FaultContext:
    model, augmentation = recipe.model, build_augmentation(recipe.data.augment)
    parts = {"validation": prepared.validation, "fold": prepared.fold, "test": prepared.test}
    return FaultContext(
        recipe=recipe,
        scored={name: len(part) for name, part in parts.items() if part is not None},
        has_softmax=(models.default_options(model.name) | model.options).get("softmax_output") is True,
        augments=bool(augmentation.affine or augmentation.pixel_transforms),
        loss_floor=floor_of_loss(len(prepared.classes)),
    )


def check_test_closed(recipe: Recipe, *, may_select: bool = False) -> None:
    """Raises ValueError if a fault opens the test set. With `may_select`, a fault may use it to select the epoch."""
    for fault in recipe.protocol.faults:
        if fault.info.opens_test and not (may_select and fault.info.selects_on_test):
            raise ValueError(
                _(
                    "protocol.faults: {fault} opens the test set, which stays closed with --no-test, search "
                    "and landscape",
                    fault=fault,
                )
            )


def check(recipe: Recipe, prepared: PreparedData) -> None:
    """Raises ValueError if this recipe or its data do not meet a fault's requirements."""
    if not recipe.protocol.faults:
        return
    context = context_of(recipe, prepared)
    for fault in recipe.protocol.faults:
        for need in fault.info.needs:
            if (problem := need(context)) is not None:
                raise ValueError(_("protocol.faults: {fault} {problem}", fault=fault, problem=problem))


def flags(recipe: Recipe, prepared: PreparedData) -> list[str]:
    """Returns a sentence for each fault, with its effect on these data."""
    details = {fault: fault.info.detail(context_of(recipe, prepared)) for fault in recipe.protocol.faults}
    return [
        _("{flag}; {detail}", flag=fault.flag, detail=detail) if detail else fault.flag
        for fault, detail in details.items()
    ]
