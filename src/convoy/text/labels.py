"""Labels of runs in the language of the reader. A label identifies a run, so it is stored and compared in English."""

from __future__ import annotations

import re

from convoy.text import gettext as _
from convoy.text import translated
from convoy.text.lists import joined

SOURCES = {  # the labels of a study of seeds
    "all": "all three sources",
    "initialisation": "initial weights",
    "order": "order, augmentation, dropout",
    "split": "split of the data",
}

_FOLD = re.compile(r"fold (\d+) of (\d+)(?:, repeat (\d+))?")
_WITHOUT = re.compile("(.+) without (.+)")  # of a ladder, like _WITH_CHANGES
_SEED = re.compile(r"(.+), seed (\d+)")
_WITH_CHANGES = re.compile(r"\+ (.+)")
_AS_PUBLISHED = re.compile("([^,:]+) as published")


def label_text(label: str) -> str:
    """Translates the words of a label: "fold 1 of 5", "net without model", "smaller, as published: 54 pixels".

    The first part of a label is a name, for example that of a model, and is not translated.
    """
    if match := _FOLD.fullmatch(label):
        fold, total, repeat = match.groups()
        if repeat is None:
            return _("fold {fold} of {total}", fold=fold, total=total)
        return _("fold {fold} of {total}, repeat {repeat}", fold=fold, total=total, repeat=repeat)
    if match := _WITHOUT.fullmatch(label):
        return _("{label} without the change of {changes}", label=match[1], changes=_changes(match[2]))
    if match := _WITH_CHANGES.fullmatch(label):
        return f"+ {_changes(match[1])}"
    if match := _SEED.fullmatch(label):
        return _("{label}, seed {seed}", label=label_text(match[1]), seed=match[2])
    if match := _AS_PUBLISHED.fullmatch(label):
        return _("{label} as published", label=match[1])
    if label == "all three":  # in archived studies
        label = SOURCES["all"]
    if label in SOURCES.values():
        return translated(label)
    words = {"as published": _("as published"), "corrected": _("corrected"), "without": _("without"), "with": _("with")}
    text, *others = re.split("(, |: )", label)
    for mark, part in zip(others[::2], others[1::2], strict=True):
        detail = words.get(part) or translated(part)
        if mark == ", ":
            text = _("{label}, {detail}", label=text, detail=detail)
        else:
            text = _("{label}: {value}", label=text, value=detail)
    return text


def change_text(name: str) -> str:
    """Returns a key of the recipe, or the name of a section or of a fault in the language of the reader."""
    sections = {
        "model": _("network"),
        "optim": _("optimizer"),
        "schedule": _("learning rate schedule"),
        "train.loss": _("loss function"),
    }
    return sections.get(name) or (name if "." in name else translated(name.replace("_", " ")))


def _changes(names: str) -> str:
    return joined(change_text(name) for name in names.split(", "))
