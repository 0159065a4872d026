"""Names of accuracies and machines for readers."""

from __future__ import annotations

from convoy.run_contents import Environment
from convoy.text import gettext as _


def accuracy_title(part: str) -> str:
    titles = {"test": _("Test accuracy"), "fold": _("Fold accuracy"), "validation": _("Validation accuracy")}
    return titles[part]


def accuracy_name(part: str) -> str:
    names = {"test": _("test accuracy"), "fold": _("fold accuracy"), "validation": _("validation accuracy")}
    return names[part]


def machine_name(environment: Environment) -> str:
    """Returns the processor or the device, and the number of threads."""
    machine = environment.cpu if environment.device == "cpu" else environment.device
    return _("{machine}, threads: {n}", machine=machine, n=environment.threads)
