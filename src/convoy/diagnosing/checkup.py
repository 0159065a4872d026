"""The checks that run before each training run. CONVOY_DOCTOR=off disables them."""

from __future__ import annotations

import os

from convoy.diagnosing.finding import Finding, by_severity
from convoy.diagnosing.images import Images
from convoy.diagnosing.network import Network
from convoy.diagnosing.table import CHECKS, Topic, examine

SWITCH = "CONVOY_DOCTOR"
DECLARED = {"softmax_before_loss", "unused_parameters", "shared_weights"}  # flaws that a model can declare itself


def is_off() -> bool:
    return os.environ.get(SWITCH, "").lower() in ("off", "0", "no", "false")


def quick_findings(network: Network, images: Images) -> tuple[Finding, ...]:
    """Returns the findings of the quick checks, without flaws declared by the model, which are shown separately."""
    if is_off():
        return ()
    findings: list[Finding] = []
    subjects: tuple[tuple[Topic, object], ...] = (
        (Topic.NETWORK, network),
        (Topic.FORWARD, network),
        (Topic.OUTPUTS, network),
        (Topic.PIXELS, images),
        (Topic.DATA, images),
        (Topic.PROTOCOL, network.recipe),
        (Topic.TRAINING, images),
    )
    for topic, subject in subjects:
        checks = [check for check in CHECKS if check.quick and check.topic is topic]
        if network.declared_flaws:
            checks = [check for check in checks if check.name not in DECLARED]
        findings += examine(subject, checks)
    return by_severity(findings)
