"""Why numbers are shown without a verdict, in words."""

from __future__ import annotations

from convoy.prediction import Reason
from convoy.text import gettext as _


def reason_text(reason: Reason) -> str:
    texts = {
        Reason.NOT_PUBLISHED: _("not published"),
        Reason.NOT_MEASURED: _("not measured"),
        Reason.QUICK_TRY: _("quick try"),
        Reason.REDUCED: _("fewer images or epochs than published"),
        Reason.LONGER: _("more epochs than published"),
        Reason.NO_INTERVAL: _("a single run, and the number has no interval over images"),
        Reason.NO_SPREAD: _("all runs are equal, and the resolution of the number is unknown"),
    }
    return texts[reason]
