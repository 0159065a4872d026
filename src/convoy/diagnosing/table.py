"""The table of checks, one row each. Their functions are imported when they are called. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import import_module
from typing import Any

from convoy.diagnosing.finding import Finding, Severity, TooSlowError, Value
from convoy.registry import unknown
from convoy.text import gettext as _
from convoy.text.lists import joined

TOO_SLOW = "too_slow"  # the `check` of the finding that lists skipped checks


class Topic(StrEnum):
    """A file in `checks/`; its checks have the same subject."""

    NETWORK = "network"
    FORWARD = "forward"
    OUTPUTS = "outputs"
    TRAINABILITY = "trainability"
    MEASURED = "measured"
    PIXELS = "pixels"
    DATA = "data"
    SHORTCUTS = "shortcuts"
    LABELS = "labels"
    PROTOCOL = "protocol"
    TRAINING = "training"
    RESULTS = "results"
    TEXT = "text"
    ENVIRONMENT = "environment"


@dataclass(frozen=True)
class Check:
    topic: Topic
    name: str  # name of the function
    quick: bool = True  # also runs before each training run run

    @property
    def function(self) -> Callable[[Any], Iterator[Finding]]:
        function: Callable[[Any], Iterator[Finding]] = getattr(
            import_module(f"convoy.diagnosing.checks.{self.topic}"), self.name
        )
        return function


# fmt: off
CHECKS = (
    Check(Topic.NETWORK, "non_finite_values"),
    Check(Topic.NETWORK, "softmax_before_loss"),
    Check(Topic.NETWORK, "no_gradient"),
    Check(Topic.NETWORK, "unused_parameters"),
    Check(Topic.NETWORK, "frozen_parameters"),
    Check(Topic.NETWORK, "unregistered_layers"),
    Check(Topic.NETWORK, "shared_weights"),
    Check(Topic.NETWORK, "dead_units"),
    Check(Topic.NETWORK, "saturated_units"),
    Check(Topic.NETWORK, "vanishing_signal"),
    Check(Topic.NETWORK, "initial_loss"),
    Check(Topic.FORWARD, "normalised_again"),
    Check(Topic.FORWARD, "small_norm_batches"),
    Check(Topic.FORWARD, "random_in_evaluation"),
    Check(Topic.FORWARD, "changes_itself"),
    Check(Topic.FORWARD, "reads_changed_tensor"),
    Check(Topic.FORWARD, "differs_in_evaluation"),
    Check(Topic.FORWARD, "detached_features"),
    Check(Topic.FORWARD, "no_activation"),
    Check(Topic.FORWARD, "equal_units"),
    Check(Topic.FORWARD, "unseen_pixels"),
    Check(Topic.FORWARD, "norm_dimension"),
    Check(Topic.FORWARD, "patches_by_reshape"),
    Check(Topic.FORWARD, "norm_momentum"),
    Check(Topic.FORWARD, "norm_epsilon"),
    Check(Topic.OUTPUTS, "activation_before_loss"),
    Check(Topic.OUTPUTS, "narrow_features"),
    Check(Topic.OUTPUTS, "hidden_softmax"),
    Check(Topic.OUTPUTS, "constant_factor"),
    Check(Topic.OUTPUTS, "strong_dropout"),
    Check(Topic.TRAINABILITY, "output_depends_on_batch", quick=False),
    Check(Topic.TRAINABILITY, "ignores_order", quick=False),
    Check(Topic.TRAINABILITY, "cannot_overfit", quick=False),
    Check(Topic.TRAINABILITY, "untrained_layers", quick=False),
    Check(Topic.TRAINABILITY, "learning_rate", quick=False),
    Check(Topic.MEASURED, "effect_of_softmax", quick=False),
    Check(Topic.MEASURED, "permuted_labels", quick=False),
    Check(Topic.PIXELS, "normalisation"),
    Check(Topic.PIXELS, "pixel_range"),
    Check(Topic.PIXELS, "few_levels"),
    Check(Topic.PIXELS, "parts_differ"),
    Check(Topic.PIXELS, "grey_as_colour"),
    Check(Topic.PIXELS, "blank_images"),
    Check(Topic.PIXELS, "faint_images"),
    Check(Topic.PIXELS, "scrambled_pixels"),
    Check(Topic.PIXELS, "cut_off_images"),
    Check(Topic.DATA, "class_balance"),
    Check(Topic.DATA, "parts_have_other_classes"),
    Check(Topic.DATA, "labels_in_file_order"),
    Check(Topic.DATA, "few_scored_images"),
    Check(Topic.DATA, "images_in_two_parts", quick=False),
    Check(Topic.DATA, "labels_disagree", quick=False),
    Check(Topic.SHORTCUTS, "predictable_without_content", quick=False),
    Check(Topic.SHORTCUTS, "repeated_mark", quick=False),
    Check(Topic.SHORTCUTS, "parts_are_distinguishable", quick=False),
    Check(Topic.SHORTCUTS, "related_images", quick=False),
    Check(Topic.LABELS, "part_is_turned", quick=False),
    Check(Topic.LABELS, "classes_swapped", quick=False),
    Check(Topic.LABELS, "random_labels", quick=False),
    Check(Topic.LABELS, "turned_copies", quick=False),
    Check(Topic.PROTOCOL, "protocol_faults", quick=False),
    Check(Topic.PROTOCOL, "label_changing_augmentation"),
    Check(Topic.PROTOCOL, "squared_error"),
    Check(Topic.PROTOCOL, "extreme_values"),
    Check(Topic.PROTOCOL, "averages_of_gradients"),
    Check(Topic.PROTOCOL, "schedule_never_acts"),
    Check(Topic.PROTOCOL, "patience_never_acts"),
    Check(Topic.PROTOCOL, "stops_early"),
    Check(Topic.PROTOCOL, "no_validation"),
    Check(Topic.PROTOCOL, "few_images_trained_on"),
    Check(Topic.TRAINING, "one_step_per_epoch"),
    Check(Topic.TRAINING, "unequal_class_weights"),
    Check(Topic.TRAINING, "balanced_twice"),
    Check(Topic.TRAINING, "target_below_chance"),
    Check(Topic.RESULTS, "unfinished"),
    Check(Topic.RESULTS, "stopped_in_first_epoch"),
    Check(Topic.RESULTS, "at_chance"),
    Check(Topic.RESULTS, "changed_record"),
    Check(Topic.RESULTS, "skipped_steps"),
    Check(Topic.RESULTS, "still_improving"),
    Check(Topic.RESULTS, "selection_optimism"),
    Check(Topic.RESULTS, "test_set_reused"),
    Check(Topic.RESULTS, "noise_floor"),
    Check(Topic.RESULTS, "effect_of_faults"),
    Check(Topic.RESULTS, "scored_on_training_images", quick=False),
    Check(Topic.RESULTS, "suspect_labels"),
    Check(Topic.TEXT, "numbers_without_source"),
    Check(Topic.ENVIRONMENT, "torch_build"),
    Check(Topic.ENVIRONMENT, "gpu_capability"),
    Check(Topic.ENVIRONMENT, "untested_device"),
    Check(Topic.ENVIRONMENT, "free_disk"),
    Check(Topic.ENVIRONMENT, "free_memory"),
    Check(Topic.ENVIRONMENT, "network_file_system"),
    Check(Topic.ENVIRONMENT, "busy_cores"),
    Check(Topic.ENVIRONMENT, "limited_threads"),
    Check(Topic.ENVIRONMENT, "trained_elsewhere"),
)
# fmt: on


def selected(only: Collection[str]) -> tuple[Check, ...]:
    """Returns the checks with these names or topics, or all if `only` is empty. Raises ValueError for unknown names."""
    names = {*Topic, *(check.name for check in CHECKS)}
    for name in only:
        if name not in names:
            raise unknown(_("check"), name, names)
    return tuple(check for check in CHECKS if not only or {check.name, check.topic} & {*only})


def _storable(value: Value) -> Value:
    """Returns "nan" or "inf" for such a number, which JSON cannot store."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def examine(subject: object, checks: Collection[Check]) -> Iterator[Finding]:
    """Runs checks of this subject. Checks that raise an exception give a hint, one for each error message."""
    failures: dict[str, list[str]] = {}
    skipped: dict[int, list[str]] = {}  # by FLOPs per image
    for check in checks:
        try:
            for finding in check.function(subject):
                evidence = {name: _storable(value) for name, value in finding.evidence.items()}
                yield replace(finding, evidence=evidence, check=check.name)
        except TooSlowError as slow:
            skipped.setdefault(slow.flops_per_image, []).append(check.name)
        except Exception as error:
            text = next(iter(str(error).splitlines()), "")
            failures.setdefault(f"{type(error).__name__}: {text}", []).append(check.name)
    for error_text, names in failures.items():
        yield Finding(
            Severity.HINT,
            _("These checks failed: {checks}. The error: {error}", checks=joined(names), error=error_text),
            _("If the error is in your code, correct it; all other checks ran"),
            check=names[0],
        )
    for flops, names in skipped.items():
        yield Finding(
            Severity.HINT,
            _(
                "The network is too large for these checks before training, at {flops:.0f} billion FLOPs per image: "
                "{checks}",
                flops=flops / 1e9,
                checks=joined(names),
            ),
            _("Run them with convoy doctor and the name of the network or recipe"),
            {"flops_per_image": flops},
            check=TOO_SLOW,
        )
