"""Names of the parts of a data set (train, validation, test, fold) for readers."""

from __future__ import annotations

from convoy.text import gettext as _


def accuracy_title(part: str) -> str:
    titles = {"test": _("Test accuracy"), "fold": _("Fold accuracy"), "validation": _("Validation accuracy")}
    return titles[part]


def accuracy_name(part: str) -> str:
    names = {"test": _("test accuracy"), "fold": _("fold accuracy"), "validation": _("validation accuracy")}
    return names[part]
