"""Why numbers are shown without a verdict, in words."""

from __future__ import annotations

from convoy.prediction import Reason

REASONS = {
    Reason.NOT_PUBLISHED: "not published",
    Reason.NOT_MEASURED: "not measured",
    Reason.QUICK_TRY: "quick try",
    Reason.REDUCED: "fewer images or epochs than published",
    Reason.LONGER: "more epochs than published",
    Reason.NO_INTERVAL: "a single run, and the number has no interval over images",
    Reason.NO_SPREAD: "all runs are equal, and the resolution of the number is unknown",
}
